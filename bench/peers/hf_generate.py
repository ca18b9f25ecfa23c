"""transformers' greedy generate on prompts of messages, for bench/generate.py. Prints one JSON line: ids of each answer, and seconds.

usage: hf_generate.py MODEL PROMPTS.jsonl NEW-TOKENS BATCH float32|bfloat16

Loading and one short answer are not counted. An answer's ids end before padding.
"""

import json
import os
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

path, prompts, new, batch, dtype = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), getattr(torch, sys.argv[5])
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
tok = AutoTokenizer.from_pretrained(path, padding_side="left")
tok.pad_token = tok.pad_token or tok.eos_token
model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype).eval()
messages = [json.loads(line)["messages"] for line in open(prompts)]


def answer(chunk, limit):
    ids = tok.apply_chat_template(chunk, add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True)
    out = model.generate(**ids, max_new_tokens=limit, do_sample=False, pad_token_id=tok.pad_token_id)
    return out[:, ids["input_ids"].shape[1]:].tolist()


def cut(ids):
    """Up to and including the first end token; what follows is padding."""
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return next((ids[: i + 1] for i, token in enumerate(ids) if token in ends), ids)


with torch.no_grad():
    answer(messages[:batch], 4)
    start, answers = time.perf_counter(), []
    for i in range(0, len(messages), batch):
        answers += [cut(ids) for ids in answer(messages[i : i + batch], new)]
    seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "tokens": sum(map(len, answers)), "answers": answers, "texts": tok.batch_decode(answers, skip_special_tokens=True)}))
