"""Loads an adapter folder with PEFT and prints the logits of the adapted model, to compare with hone's own.

usage: peft_check.py MODEL ADAPTER IDS.json [EXPECTED.safetensors]

IDS.json is a list of lists of token ids. Prints one JSON line for each: the last position's logits and the norm of all.
With EXPECTED (tensors logits.0, logits.1, … [tokens, vocab], as hone wrote them) it compares instead, and the exit status is 1
where the largest absolute difference is above 1e-4, or where the adapter changes nothing at all.
"""

import json
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float()


model_path, adapter_path, ids_path, *expected_path = sys.argv[1:]
rows = json.load(open(ids_path))
base = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32).eval()
before = [logits(base, ids) for ids in rows]
adapted = PeftModel.from_pretrained(base, adapter_path).eval()
after = [logits(adapted, ids) for ids in rows]
moved = max(float((a - b).abs().max()) for a, b in zip(after, before))

if not expected_path:
    for row in after:
        print(json.dumps({"norm": float(row.norm()), "last": row[-1].tolist()}))
    sys.exit(0)

expected = load_file(expected_path[0])
worst = max(float((row - expected[f"logits.{i}"]).abs().max()) for i, row in enumerate(after))
print(json.dumps({"rows": len(rows), "max_abs_difference": worst, "moved_by_adapter": moved}))
sys.exit(1 if worst > 1e-4 or moved == 0 else 0)
