"""Greedy answers of hone and of transformers to the same prompts, by turns, several times.

usage: generate.py MODEL [--batch 1] [--prompts 4] [--new 64] [--dtype float32|bfloat16] [--checkpoint float32|bfloat16] [--repeats 3] [--threads 2]
       MODEL: a Hugging Face folder; `just bench generate` makes SmolLM2-135M-Instruct's

Both sides compute in --dtype what is stored in --checkpoint: by default bfloat16, as nearly all published checkpoints are, this model's
too. hone keeps such weights in bfloat16 in memory and multiplies in float32, which reads half as much and gives the same numbers.

Tokens a second count prefill and decoding, not loading. hone's are the metrics `tokens` and `seconds` of a generate stage. Both sides
stop at an end token; the prompts ask for answers that are longer. The limit reads the weights once for each step of a batch.
"""

import json
import tempfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import machine
import rows
import side


def main():
    p = side.parser(batch=1, prompts=0, new=64, repeats=3, threads=2)
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    p.add_argument("--checkpoint", default="bfloat16", choices=["float32", "bfloat16"])
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    prompts = rows.prompts(a.prompts or max(4, a.batch))
    print(f"{machine.processor()}, {a.threads} threads; {len(prompts)} prompts, {a.batch} at once, {a.new} new tokens; {a.dtype}, from a checkpoint in {a.checkpoint}", flush=True)

    others = machine.warn_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        stored = f"{folder}/model"
        model = AutoModelForCausalLM.from_pretrained(a.model, dtype=getattr(torch, a.checkpoint))
        model.save_pretrained(stored)
        AutoTokenizer.from_pretrained(a.model).save_pretrained(stored)
        pipeline = side.Pipeline(folder, f"""{{
	base: {{kind: "model.load", source: {json.dumps(stored)}, dtype: "{a.dtype}"}}
	rows: {{kind: "data.load", source: "rows.jsonl"}}
	answer: {{kind: "generate", model: stages.base.out.model, data: stages.rows.out.data, maxNewTokens: {a.new}, batch: {a.batch}}}
}}""", prompts)
        found = side.alternate(a.repeats, {
            "transformers": lambda: side.peer("hf_generate.py", stored, f"{folder}/rows.jsonl", a.new, a.batch, a.dtype, threads=a.threads)[0],
            "hone": lambda: pipeline.run("answer", a.threads)[0],
        }, lambda turn: ", ".join(f"{name} {run['tokens'] / run['seconds']:.1f} tokens/s of {run['tokens']:.0f}" for name, run in turn.items()))

    bits = torch.bfloat16 if "bfloat16" in (a.checkpoint, a.dtype) else torch.float32
    size = sum(x.numel() * bits.itemsize for x in model.parameters())
    bandwidth = machine.read_bandwidth()
    limit = a.batch * bandwidth / size
    theirs, ours = (found[name]["tokens"] / found[name]["seconds"] for name in ("transformers", "hone"))
    print(f"transformers {theirs:.1f} tokens/s")
    print(f"hone         {ours:.1f} tokens/s")
    print(f"limit        {limit:.1f} tokens/s: {size / 2**20:.0f} MiB of weights at {bandwidth / 1e9:.1f} GB/s")
    print(json.dumps({"times_transformers": round(ours / theirs, 2), "of_limit": round(ours / limit, 2), "others_busy": round(others, 1)}))


if __name__ == "__main__":
    main()
