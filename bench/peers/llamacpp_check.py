"""Runs GGUF files that hone wrote with llama.cpp's server, and prints what it answers.

usage: llamacpp_check.py CASES.json

CASES.json is a list of {"name", "file" (a GGUF file), "context" (its size, or 0), "texts" (to tokenize), "prompts" (lists of token
ids), "tokens" (how many to generate greedily)}. Prints a JSON line for each: "ids" of the texts and "answers", the tokens generated.
"""

import json
import sys
import urllib.request

import xllamacpp


def serve(path, context):
    p = xllamacpp.CommonParams()
    p.model.path = path
    p.n_ctx, p.n_parallel, p.warmup, p.port, p.verbosity = context, 1, False, 0, 0
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
    p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32  # float16 would flip a close choice
    return xllamacpp.Server(p)


def ask(server, path, body):
    request = urllib.request.Request(server.listening_address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))


for case in json.load(open(sys.argv[1])):
    server = serve(case["file"], case["context"] or 512)
    ids = [ask(server, "/tokenize", {"content": t, "add_special": True, "parse_special": True})["tokens"] for t in case["texts"] or []]
    answers = [
        ask(server, "/completion", {
            "prompt": prompt, "n_predict": case["tokens"], "temperature": 0, "return_tokens": True, "cache_prompt": False,
            "repeat_penalty": 1.0, "ignore_eos": False,
        })["tokens"]
        for prompt in case["prompts"]
    ]
    print(json.dumps({"name": case["name"], "ids": ids, "answers": answers}))
    del server
