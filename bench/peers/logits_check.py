"""Loads folders that hone wrote, models with transformers and adapters with PEFT, and compares their logits with hone's own.

usage: logits_check.py CASES.json

CASES.json is a list of {"name", "model", "adapter" (a folder, or ""), "file" (of a GGUF model in the folder, or ""),
"config" (the folder of its config.json, or "" where the file's own will do), "quantize" ("nf4": bitsandbytes holds the linear layers, with
scales quantised too; or ""), "ids" (a list of lists of token ids), "expected" (a
safetensors file: logits.0, logits.1, … [tokens, vocab], as hone computed them), "texts" (to tokenize by a GGUF file)}. Prints a JSON
line for each: the largest absolute difference; of an adapter also how much it moves the logits of its base, and the tensors that its
file or PEFT's model has and the other lacks; of a GGUF file also the ids of the texts and its chat template.
"""

import ctypes
import json
import pathlib
import sys

import bitsandbytes
import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

# In evaluation on such processors its layers would compute in bfloat16, whatever their input.
bitsandbytes.nn.modules.has_avx512bf16 = lambda: False
# Its AVX-512 code takes the scales of other blocks where a row is not whole ones, as those of toys are not: let all be one row.
native = bitsandbytes.cextension.lib
dequantize = native.cdequantize_blockwise_cpu_nf4_fp32
native.cdequantize_blockwise_cpu_nf4_fp32 = lambda codes, scales, out, block, rows, columns: dequantize(
    codes, scales, out, block, ctypes.c_longlong(1), ctypes.c_longlong(rows.value * columns.value))


def logits(model, rows):
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0].float() for ids in rows]


def worst(some, others):
    return max(float((a - b).abs().max()) for a, b in zip(some, others, strict=True))


for case in json.load(open(sys.argv[1])):
    extra = {"gguf_file": case["file"]} if case["file"] else {}
    if case["config"]:
        extra["config"] = AutoConfig.from_pretrained(case["config"])
    if case["quantize"]:
        extra["quantization_config"] = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=case["quantize"], bnb_4bit_use_double_quant=True,
                                                          bnb_4bit_compute_dtype=torch.float32)
        extra["device_map"] = {"": "cpu"}
    model = AutoModelForCausalLM.from_pretrained(case["model"], dtype=torch.float32, **extra).eval()
    got, moved, others, file = logits(model, case["ids"]), None, [], {}
    if case["file"]:
        tokenizer = AutoTokenizer.from_pretrained(case["model"], gguf_file=case["file"])
        file = {"tokens": [tokenizer(t).input_ids for t in case["texts"]], "template": tokenizer.chat_template}
    if case["adapter"]:
        before = got
        adapted = PeftModel.from_pretrained(model, case["adapter"]).eval()
        others = sorted(set(get_peft_model_state_dict(adapted)) ^ set(load_file(pathlib.Path(case["adapter"], "adapter_model.safetensors"))))
        got = logits(adapted, case["ids"])
        moved = worst(got, before)
    want = load_file(case["expected"])
    difference = worst(got, [want[f"logits.{i}"] for i in range(len(want))])
    print(json.dumps({"name": case["name"], "difference": difference, "moved": moved, "others": others, **file}))
