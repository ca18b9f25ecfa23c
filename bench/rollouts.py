"""Answers of hone and of llama.cpp's server to the same prompts, many at once, by turns, several times.

usage: rollouts.py MODEL [--batch 16] [--prompts 0] [--new 64] [--repeats 3] [--threads 2]
       MODEL: a Hugging Face folder; `just bench rollouts` makes SmolLM2-135M-Instruct's

Both decode greedily in float32 from the same float32 weights, which llama.cpp reads from the GGUF file that hone's export stage writes.
Tokens a second count prefill and decoding, not loading. Prompts are as many as fit at once unless --prompts says otherwise. The limit
is that of decoding alone.
"""

import json
import tempfile

import torch
from transformers import AutoConfig

import machine
import rows
import side


def main():
    a = side.parser(batch=16, prompts=0, new=64, repeats=3, threads=2).parse_args()
    torch.set_num_threads(a.threads)
    prompts = rows.prompts(a.prompts or a.batch)
    print(f"{machine.processor()}, {a.threads} threads; {len(prompts)} prompts, {a.batch} at once, {a.new} new tokens; float32", flush=True)
    others = machine.warn_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        pipeline = side.Pipeline(folder, f"""{{
	base: {{kind: "model.load", source: {json.dumps(a.model)}, dtype: "float32"}}
	rows: {{kind: "data.load", source: "rows.jsonl"}}
	file: {{kind: "export", model: stages.base.out.model, format: "gguf", type: "f32"}}
	answer: {{kind: "generate", model: stages.base.out.model, data: stages.rows.out.data, maxNewTokens: {a.new}, batch: {a.batch}}}
}}""", prompts)
        pipeline.run("file", a.threads)
        file = pipeline.hone("path", "file").out.strip() + "/model.gguf"
        found = side.alternate(a.repeats, {
            "llama.cpp": lambda: side.peer("llamacpp_generate.py", file, a.model, f"{folder}/rows.jsonl", a.new, a.batch, threads=a.threads)[0],
            "hone": lambda: pipeline.run("answer", a.threads)[0],
        }, lambda turn: ", ".join(f"{name} {run['tokens'] / run['seconds']:.1f} tokens/s of {run['tokens']:.0f}" for name, run in turn.items()))
    theirs, ours = (found[name]["tokens"] / found[name]["seconds"] for name in ("llama.cpp", "hone"))
    limit = a.batch / machine.decoding(AutoConfig.from_pretrained(a.model), a.batch)
    print(f"llama.cpp {theirs:.1f} tokens/s")
    print(f"hone      {ours:.1f} tokens/s")
    print(f"limit     {limit:.1f} tokens/s")
    print(json.dumps({"times_llamacpp": round(ours / theirs, 2), "of_limit": round(ours / limit, 2), "others_busy": round(others, 1)}))


if __name__ == "__main__":
    main()
