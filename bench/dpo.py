"""DPO steps of hone and of TRL on the same pairs, one after the other, several times.

usage: dpo.py MODEL [--pairs 4] [--steps 8] [--repeats 3] [--threads 2]
       MODEL: a Hugging Face folder; `just bench dpo` makes SmolLM2-135M-Instruct's

Both train all weights in float32 on pairs whose sequences have about 120 tokens, with AdamW, a clip of 1 and a falling rate. A step's time
is from the end of one to the end of the next; the first two steps are left out; the figure of a run is the median of its steps, and
the figure printed the median of the runs. TRL asks its reference in each step. hone asks it once, in a stage of its own: the whole
time of that stage, its start and the loading of the model included, is spread over the steps and counted. The limit is the time that the
matrix products of both passes alone would take at the machine's best rate.
"""

import argparse
import json
import tempfile

import torch
from transformers import AutoConfig, AutoTokenizer

import machine
import rows
import side
from sft import products, step_seconds

RATE, LENGTH = 1e-6, 512


def cue(a):
    return f"""{{
	base: {{kind: "model.load", source: {json.dumps(a.model)}}}
	rows: {{kind: "data.load", source: "rows.jsonl"}}
	tune: {{
		kind: "train.dpo", model: stages.base.out.model, data: stages.rows.out.data
		maxSteps: {a.steps}, learningRate: {RATE}, maxLength: {LENGTH}, batch: {{rows: {a.pairs}, accumulate: 1}}
		shuffle: false, logEvery: 1, dtype: "float32", saveEvery: {10 * a.steps}
	}}
}}"""


def pairs(n):
    """Preference rows: a delivery worked out, and the same with another row's numbers."""
    made = rows.conversations(n + 1)
    return [{"prompt": row["messages"][:1], "chosen": row["messages"][1:], "rejected": other["messages"][1:]} for row, other in zip(made, made[1:])]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    for name, value in dict(pairs=4, steps=8, repeats=3, threads=2).items():
        p.add_argument(f"--{name}", type=int, default=value)
    a = p.parse_args()
    torch.set_num_threads(a.threads)

    data = pairs(a.pairs * a.steps)
    tok = AutoTokenizer.from_pretrained(a.model)
    lengths = [len(tok.apply_chat_template(row["prompt"] + row[side], return_dict=True)["input_ids"]) for row in data for side in ("chosen", "rejected")]
    tokens = 2 * a.pairs * sum(lengths) / len(lengths)
    print(f"{machine.processor()}, {a.threads} threads; {a.pairs} pairs, sequences of {min(lengths)} to {max(lengths)} tokens", flush=True)

    others = machine.warn_if_busy()
    found = {"trl": [], "step": [], "reference": [], "hone": []}
    peak = {"trl": [], "hone": []}
    with tempfile.TemporaryDirectory() as folder:
        pipeline = side.Pipeline(folder, cue(a), data)
        for i in range(a.repeats):
            theirs, ran = side.peer("trl_dpo.py", a.model, f"{folder}/rows.jsonl", a.steps, a.pairs, RATE, LENGTH, threads=a.threads)
            found["trl"].append(step_seconds(theirs["ends"]))
            peak["trl"].append(ran.peak)
            _, ran = pipeline.run("tune/reference", a.threads)
            found["reference"].append(ran.seconds / a.steps)
            _, ran = pipeline.run("tune", a.threads)
            ours = pipeline.log("tune")
            found["step"].append(step_seconds([line["time"] for line in ours]))
            found["hone"].append(found["step"][-1] + found["reference"][-1])
            peak["hone"].append(ran.peak)
            worst = max(abs(line["loss"] - loss) / loss for line, loss in zip(ours, theirs["losses"], strict=True))
            print(f"  run {i + 1}: TRL {found['trl'][-1]:.3f} s, hone {found['step'][-1]:.3f} s a step and {found['reference'][-1]:.3f} s for the reference; "
                  f"losses within {worst:.1e}", flush=True)

    config, rate = AutoConfig.from_pretrained(a.model), machine.gemm_rate(torch.float32)
    flops = products(config, tokens, None) * 4 / 3  # forward, twice that backward, and the reference's forward
    limit = flops / rate
    trl, hone, step = (machine.median(found[name]) for name in ("trl", "hone", "step"))
    memory = {name: machine.median(values) for name, values in peak.items()}
    print(f"TRL   {trl:.3f} s a step, {memory['trl'] / 2**30:.2f} GiB at most")
    print(f"hone  {hone:.3f} s a step ({step:.3f} without the reference), {memory['hone'] / 2**30:.2f} GiB at most")
    print(f"limit {limit:.3f} s a step: {flops / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s")
    print(json.dumps({"times_trl": round(trl / hone, 2), "memory_of_trl": round(memory["hone"] / memory["trl"], 2), "of_limit": round(limit / hone, 2),
                      "others_busy": round(others, 1)}))


if __name__ == "__main__":
    main()
