"""Steps of LoRA over a whole base, and over one in four bits, by turns, several times.

usage: qlora.py MODEL [--lora 16] [--dtype float32|bfloat16] [--rows 4] [--steps 10] [--repeats 3] [--threads 2]
       MODEL: a Hugging Face folder; `just bench qlora` makes SmolLM2-135M-Instruct's

The training is that of sft.py, by hone alone. Printed for each way of holding the base: the medians of the runs' step times and of
their peaks of memory.
"""

import json
import tempfile

import machine
import rows
import sft
import side

WAYS = {"lora": "", "qlora": 'quantize: "nf4"', "double": 'quantize: "nf4", doubleQuantize: true'}


def cue(a):
    tunes = "".join(f"""
	{name}: {{
		kind: "train.sft", model: stages.base.out.model, data: stages.rows.out.data, loss: "all"
		maxSteps: {a.steps}, learningRate: {sft.RATE}, maxLength: {sft.LENGTH}, batch: {{rows: {a.rows}, accumulate: 1}}
		shuffle: false, logEvery: 1, dtype: "{a.dtype}", saveEvery: {10 * a.steps}
		lora: {{rank: {a.lora}, alpha: {2 * a.lora}, dropout: 0, {fields}}}
	}}""" for name, fields in WAYS.items())
    return f"""{{
	base: {{kind: "model.load", source: {json.dumps(a.model)}}}
	rows: {{kind: "data.load", source: "rows.jsonl"}}{tunes}
}}"""


def main():
    a = sft.arguments(repeats=3)
    a.lora = a.lora or 16
    data = rows.conversations(a.rows * a.steps)
    print(f"{machine.processor()}, {a.threads} threads; {a.rows} rows a step; {a.dtype}, LoRA r={a.lora} all-linear", flush=True)
    others = machine.warn_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        pipeline = side.Pipeline(folder, cue(a), data)
        found = side.alternate(a.repeats, {name: lambda name=name: pipeline.train(name, a.threads) for name in WAYS}, lambda turn: ", ".join(
            f"{name} {run['step']:.3f} s a step, first loss {run['losses'][0]:.4f}" for name, run in turn.items()))
    for name, run in found.items():
        print(f"{name:7} {run['step']:.3f} s a step, {run['peak'] / 2**30:.2f} GiB at most")
    print(json.dumps({f"{name}_{what}": round(found[name][key] / found["lora"][key], 2) for name in ("qlora", "double")
                      for what, key in (("time", "step"), ("memory", "peak"))} | {"others_busy": round(others, 1)}))


if __name__ == "__main__":
    main()
