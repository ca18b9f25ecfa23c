"""Answers of hone and of llama.cpp's server to the same prompts, many at once, one side after the other, several times.

usage: rollouts.py MODEL [--batch 16] [--prompts 0] [--new 64] [--repeats 3] [--threads 2]
       MODEL: a Hugging Face folder; `just bench rollouts` makes SmolLM2-135M-Instruct's

Both decode greedily in float32 from the same float32 weights, which llama.cpp reads from the GGUF file that hone's export stage writes.
Tokens a second count prefill and decoding, not loading. Prompts are as many as fit at once unless --prompts says otherwise.
"""

import argparse
import json
import tempfile

import machine
import rows
import side


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    for name, value in dict(batch=16, prompts=0, new=64, repeats=3, threads=2).items():
        p.add_argument(f"--{name}", type=int, default=value)
    a = p.parse_args()
    prompts = rows.prompts(a.prompts or a.batch)
    print(f"{machine.processor()}, {a.threads} threads; {len(prompts)} prompts, {a.batch} at once, {a.new} new tokens; float32", flush=True)
    others = machine.warn_if_busy()
    found = {"llama.cpp": [], "hone": []}
    with tempfile.TemporaryDirectory() as folder:
        pipeline = side.Pipeline(folder, f"""{{
	base: {{kind: "model.load", source: {json.dumps(a.model)}, dtype: "float32"}}
	rows: {{kind: "data.load", source: "rows.jsonl"}}
	file: {{kind: "export", model: stages.base.out.model, format: "gguf", type: "f32"}}
	answer: {{kind: "generate", model: stages.base.out.model, data: stages.rows.out.data, maxNewTokens: {a.new}, batch: {a.batch}}}
}}""", prompts)
        pipeline.run("file", a.threads)
        file = pipeline.hone("path", "file").out.strip() + "/model.gguf"
        for i in range(a.repeats):
            theirs, _ = side.peer("llamacpp_generate.py", file, a.model, f"{folder}/rows.jsonl", a.new, a.batch, threads=a.threads)
            found["llama.cpp"].append(theirs["tokens"] / theirs["seconds"])
            ours, _ = pipeline.run("answer", a.threads)
            found["hone"].append(ours["tokens"] / ours["seconds"])
            print(f"  run {i + 1}: llama.cpp {found['llama.cpp'][-1]:.1f} tokens/s of {theirs['tokens']}, "
                  f"hone {found['hone'][-1]:.1f} of {ours['tokens']:.0f}", flush=True)
    theirs, ours = machine.median(found["llama.cpp"]), machine.median(found["hone"])
    print(f"llama.cpp {theirs:.1f} tokens/s")
    print(f"hone      {ours:.1f} tokens/s")
    print(json.dumps({"times_llamacpp": round(ours / theirs, 2), "others_busy": round(others, 1)}))


if __name__ == "__main__":
    main()
