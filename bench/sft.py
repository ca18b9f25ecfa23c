"""SFT steps of hone and of TRL on the same rows, one after the other, several times.

usage: sft.py MODEL [--lora RANK] [--dtype float32|bfloat16] [--rows 4] [--steps 10] [--repeats 3] [--threads 2]
       MODEL: a Hugging Face folder; `just bench sft` makes SmolLM2-135M-Instruct's

Both train on every token of rows of about 120 tokens, with AdamW, a clip of 1 and a falling rate. A step's time is from the end of
one to the end of the next; the first two steps are left out; the figure of a run is the median of its steps, and the figure
printed the median of the runs. The limit is the time that the step's matrix products alone would take at the machine's best rate.
"""

import argparse
import itertools
import json
import tempfile

import torch
from transformers import AutoConfig, AutoTokenizer

import machine
import rows
import side

RATE, LENGTH = 2e-5, 512


def step_seconds(ends):
    """The median distance of the ends of steps, without the first two."""
    return machine.median(b - a for a, b in itertools.pairwise(ends[1:]))


def cue(a):
    lora = f"lora: {{rank: {a.lora}, alpha: {2 * a.lora}, dropout: 0, targets: \"all-linear\"}}\n" if a.lora else ""
    return f"""{{
	base: {{kind: "model.load", source: {json.dumps(a.model)}}}
	rows: {{kind: "data.load", source: "rows.jsonl"}}
	tune: {{
		kind: "train.sft", model: stages.base.out.model, data: stages.rows.out.data, loss: "all"
		maxSteps: {a.steps}, learningRate: {RATE}, maxLength: {LENGTH}, batch: {{rows: {a.rows}, accumulate: 1}}
		shuffle: false, logEvery: 1, dtype: "{a.dtype}", saveEvery: {10 * a.steps}
		{lora}}}
}}"""


def products(config, tokens, lora):
    """Floating-point operations of a step's matrix products: 2 a weight and token forward, twice that backward.

    LoRA needs no gradient of the weights that it leaves as they are; its own are counted in full.
    """
    d, heads, kv = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    head = getattr(config, "head_dim", None) or d // heads
    shapes = [(d, heads * head), (d, kv * head), (d, kv * head), (heads * head, d)] + [(d, config.intermediate_size)] * 3
    layers = config.num_hidden_layers * sum(i * o for i, o in shapes)
    vocabulary = d * config.vocab_size
    if not lora:
        return 6 * tokens * (layers + vocabulary)
    return tokens * (4 * (layers + vocabulary) + 6 * config.num_hidden_layers * sum(lora * (i + o) for i, o in shapes))


def arguments(**numbers):
    """The options of a training, and further ones that are numbers, with their defaults."""
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--lora", type=int)
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    for name, value in dict(rows=4, steps=10, threads=2, **numbers).items():
        p.add_argument(f"--{name}", type=int, default=value)
    return p.parse_args()


def main():
    a = arguments(repeats=3)
    torch.set_num_threads(a.threads)

    data = rows.conversations(a.rows * a.steps)
    tok = AutoTokenizer.from_pretrained(a.model)
    lengths = [len(tok.apply_chat_template(row["messages"], return_dict=True)["input_ids"]) for row in data]
    tokens = a.rows * sum(lengths) / len(lengths)
    print(f"{machine.processor()}, {a.threads} threads; {a.rows} rows of {min(lengths)} to {max(lengths)} tokens a step; {a.dtype}"
          + (f", LoRA r={a.lora} all-linear" if a.lora else ", all weights"), flush=True)

    others = machine.warn_if_busy()
    found = {"trl": [], "hone": []}
    peak = {"trl": [], "hone": []}
    with tempfile.TemporaryDirectory() as folder:
        pipeline = side.Pipeline(folder, cue(a), data)
        for i in range(a.repeats):
            lora = ["--lora", a.lora] if a.lora else []
            theirs, ran = side.peer("trl_sft.py", a.model, f"{folder}/rows.jsonl", a.steps, a.rows, RATE, LENGTH, a.dtype, *lora, threads=a.threads)
            found["trl"].append(step_seconds(theirs["ends"]))
            peak["trl"].append(ran.peak)
            _, ran = pipeline.run("tune", a.threads)
            ours = pipeline.log("tune")
            found["hone"].append(step_seconds([line["time"] for line in ours]))
            peak["hone"].append(ran.peak)
            worst = max(abs(line["loss"] - loss) / loss for line, loss in zip(ours, theirs["losses"], strict=True))
            print(f"  run {i + 1}: TRL {found['trl'][-1]:.3f} s, hone {found['hone'][-1]:.3f} s a step; losses within {worst:.1e}", flush=True)

    flops, rate = products(AutoConfig.from_pretrained(a.model), tokens, a.lora), machine.gemm_rate(getattr(torch, a.dtype))
    limit = flops / rate
    trl, hone = machine.median(found["trl"]), machine.median(found["hone"])
    memory = {name: machine.median(values) for name, values in peak.items()}
    print(f"TRL   {trl:.3f} s a step, {memory['trl'] / 2**30:.2f} GiB at most")
    print(f"hone  {hone:.3f} s a step, {memory['hone'] / 2**30:.2f} GiB at most")
    print(f"limit {limit:.3f} s a step: {flops / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s")
    print(json.dumps({"times_trl": round(trl / hone, 2), "memory_of_trl": round(memory["hone"] / memory["trl"], 2), "of_limit": round(limit / hone, 2), "others_busy": round(others, 1)}))


if __name__ == "__main__":
    main()
