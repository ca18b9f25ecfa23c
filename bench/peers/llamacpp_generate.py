"""Greedy answers of llama.cpp's server, all requests at once.

usage: llamacpp_generate.py FILE.gguf TOKENIZER ROWS.jsonl NEW_TOKENS SLOTS
       TOKENIZER: a Hugging Face folder, whose template makes the prompts

OMP_NUM_THREADS is the server's threads. Prints one JSON line: {"tokens": generated, "seconds": from the first request to the last answer}.
"""

import concurrent.futures
import json
import os
import sys
import time
import urllib.request

import xllamacpp
from transformers import AutoTokenizer

file, folder, rows, new, slots = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
tok = AutoTokenizer.from_pretrained(folder)
prompts = [tok.apply_chat_template(json.loads(line)["messages"], add_generation_prompt=True, return_dict=True)["input_ids"] for line in open(rows)]

p = xllamacpp.CommonParams()
p.model.path = file
p.n_parallel, p.n_ctx = slots, slots * (max(map(len, prompts)) + new + 8)
p.warmup, p.port, p.verbosity = True, 0, 0
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))
server = xllamacpp.Server(p)


def answer(prompt):
    body = {"prompt": prompt, "n_predict": new, "temperature": 0, "return_tokens": True, "cache_prompt": False, "repeat_penalty": 1.0}
    request = urllib.request.Request(server.listening_address + "/completion", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return len(json.load(urllib.request.urlopen(request))["tokens"])


with concurrent.futures.ThreadPoolExecutor(slots) as pool:
    start = time.perf_counter()
    tokens = sum(pool.map(answer, prompts))
    print(json.dumps({"tokens": tokens, "seconds": time.perf_counter() - start}))
