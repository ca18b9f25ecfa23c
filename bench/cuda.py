"""Training steps and decoding of hone and of transformers on one GPU, with a random model of a published shape, which is made on the spot.

usage: cuda.py [--shape smollm2-135m|llama-3.2-1b] [--rows 8] [--length 1024] [--steps 60] [--new 256] [--repeats 3]
       `just bench cuda` takes the same

Both train in bfloat16 with fused AdamW and a clip of 1, on rows of the same length; transformers holds its weights in bfloat16, hone in
float32 with a copy to compute with. transformers is eager, with its fused attention. A step's time is the mean of the second half's.
Tokens a second of decoding count prefill; transformers decodes with its own cache, greedily, after a run that warms it up; hone's
count the start too, over 4 rows alone and over 256, 64 at a time. It wants a GPU, transformers, and a hone-worker that was built with
CUDA (docs/building.md).
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

import side

SHAPES = {
    "smollm2-135m": dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
                         max_position_embeddings=8192, vocab_size=49152, tie_word_embeddings=True),
    "llama-3.2-1b": dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, head_dim=64,
                         max_position_embeddings=8192, vocab_size=128256, tie_word_embeddings=True),
}
WORDS = "the farm has seven brown cows and a red barn where two small dogs sleep until noon".split()


def text(n, seed):
    r = random.Random(seed)
    return " ".join(r.choice(WORDS) for _ in range(n))


def theirs(a):
    """Seconds a training step, and tokens a second with one row and with 64, of transformers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    with torch.device("cuda"):
        model = LlamaForCausalLM._from_config(LlamaConfig(**SHAPES[a.shape]), dtype=torch.bfloat16, attn_implementation="sdpa")
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(3, 300, (a.rows, a.length), device="cuda")
    ends = []
    for _ in range(a.steps):
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        ends.append(time.perf_counter())
    half = len(ends) // 2
    step = (ends[-1] - ends[half]) / (len(ends) - 1 - half)
    model.eval()
    rates = []
    for rows in (1, 64):
        for _ in range(2):  # the first warms up
            start = time.perf_counter()
            model.generate(ids[:1, :32].repeat(rows, 1), max_new_tokens=a.new, min_new_tokens=a.new, do_sample=False, pad_token_id=0)
            torch.cuda.synchronize()
            rate = rows * a.new / (time.perf_counter() - start)
        rates.append(rate)
    print(json.dumps([step, *rates]))


def endless(folder):
    """A tokenizer without an end token, so that every answer is as long as it may be."""
    shutil.copytree(side.ROOT / "examples" / "tiny" / "tokenizer", folder)
    config = pathlib.Path(folder) / "tokenizer_config.json"
    kept = {k: v for k, v in json.loads(config.read_text()).items() if k not in ("eos_token", "pad_token")}
    config.write_text(json.dumps(kept))


def pipeline(a):
    shape = {"model_type": "llama", "bos_token_id": 1, "pad_token_id": 0, **SHAPES[a.shape]}
    config, mute = json.dumps({**shape, "eos_token_id": shape["vocab_size"] - 1}), json.dumps(shape)
    tokenizer = json.dumps(str(side.ROOT / "examples" / "tiny" / "tokenizer"))
    return f"""{{
	base: {{kind: "model.load", tokenizer: {tokenizer}, config: {config}, dtype: "bfloat16"}}
	mute: {{kind: "model.load", tokenizer: "endless", config: {mute}, dtype: "bfloat16"}}
	long: {{kind: "data.load", source: "rows.jsonl"}}
	few: {{kind: "data.load", source: "few.jsonl"}}
	short: {{kind: "data.load", source: "prompts.jsonl"}}
	tune: {{
		kind: "train.sft", model: stages.base.out.model, data: stages.long.out.data, loss: "all"
		maxSteps: {a.steps}, learningRate: 1e-4, maxLength: {a.length}, batch: rows: {a.rows}
		logEvery: {max(1, a.steps // 6)}, saveEvery: {10 * a.steps}
	}}
	one: {{kind: "generate", model: stages.mute.out.model, data: stages.few.out.data, maxNewTokens: {a.new}, batch: 1}}
	many: {{kind: "generate", model: stages.mute.out.model, data: stages.short.out.data, maxNewTokens: {a.new}, batch: 64}}
}}"""


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--shape", choices=SHAPES, default="smollm2-135m")
    for name, value in dict(rows=8, length=1024, steps=60, new=256, repeats=3).items():
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--theirs", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.theirs:
        return theirs(a)
    import torch

    print(f"{torch.cuda.get_device_name()}; {a.shape}, {a.rows} rows of {a.length} tokens a step, bfloat16; {a.new} new tokens", flush=True)
    found = {"transformers": [], "hone": []}
    with tempfile.TemporaryDirectory() as folder:
        ours = side.Pipeline(folder, pipeline(a), [{"text": text(2 * a.length, i)} for i in range(a.rows * 4)])
        for name, rows in (("few", 4), ("prompts", 256)):
            with open(f"{folder}/{name}.jsonl", "w") as f:
                f.writelines(json.dumps({"prompt": text(16, 1000 + i)}) + "\n" for i in range(rows))
        endless(f"{folder}/endless")
        threads = min(8, os.cpu_count())
        for i in range(a.repeats):
            ran = side.Ran([sys.executable, "-W", "ignore", __file__, "--theirs", *sys.argv[1:]], os.environ)
            found["transformers"].append(json.loads(ran.out.strip().splitlines()[-1]))
            ours.run("tune", threads)
            log = ours.log("tune")
            step = (log[-1]["time"] - log[2]["time"]) / (log[-1]["step"] - log[2]["step"])
            rates = []
            for stage, rows in (("one", 4), ("many", 256)):
                metrics, _ = ours.run(stage, threads)
                assert metrics["tokens"] == rows * a.new, metrics
                rates.append(metrics["tokens"] / metrics["seconds"])
            found["hone"].append([step, *rates])
            for name, (step, one, many) in ((name, runs[-1]) for name, runs in found.items()):
                print(f"  run {i + 1}: {name:12} {1000 * step:.1f} ms a step, {one:.0f} tokens/s alone, {many:.0f} with 64 rows", flush=True)
    middle = {name: [sorted(x)[len(x) // 2] for x in zip(*runs)] for name, runs in found.items()}
    print(json.dumps({"times_transformers_training": round(middle["transformers"][0] / middle["hone"][0], 2),
                      "times_transformers_alone": round(middle["hone"][1] / middle["transformers"][1], 2),
                      "times_transformers_64_rows": round(middle["hone"][2] / middle["transformers"][2], 2)}))


if __name__ == "__main__":
    main()
