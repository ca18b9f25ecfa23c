"""DPO steps of hone and of TRL on the same pairs, by turns, several times.

usage: dpo.py MODEL [--pairs 4] [--steps 8] [--repeats 3] [--threads 2]
       MODEL: a Hugging Face folder; `just bench dpo` makes SmolLM2-135M-Instruct's

Both train all weights in float32 on pairs whose sequences have about 120 tokens, with AdamW, a clip of 1 and a falling rate. A step's time
is from the end of one to the end of the next; the first two steps are left out; the figure of a run is the median of its steps, and
the figure printed the median of the runs. TRL asks its reference in each step. hone asks it once, in a stage of its own: the whole
time of that stage, its start and the loading of the model included, is spread over the steps and counted. The limit is the time that the
matrix products of both passes alone would take at the machine's best rate.
"""

import json
import tempfile

import torch
from transformers import AutoConfig, AutoTokenizer

import machine
import rows
import side

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
    a = side.parser(pairs=4, steps=8, repeats=3, threads=2).parse_args()
    torch.set_num_threads(a.threads)

    data = pairs(a.pairs * a.steps)
    tok = AutoTokenizer.from_pretrained(a.model)
    lengths = [len(tok.apply_chat_template(row["prompt"] + row[which], return_dict=True)["input_ids"]) for row in data for which in ("chosen", "rejected")]
    tokens = 2 * a.pairs * sum(lengths) / len(lengths)
    print(f"{machine.processor()}, {a.threads} threads; {a.pairs} pairs, sequences of {min(lengths)} to {max(lengths)} tokens", flush=True)

    others = machine.warn_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        pipeline = side.Pipeline(folder, cue(a), data)

        def trl():
            return side.trainer("trl_dpo.py", a.model, f"{folder}/rows.jsonl", a.steps, a.pairs, RATE, LENGTH, threads=a.threads)

        def hone():
            _, asked = pipeline.run("tune/reference", a.threads)
            run = pipeline.train("tune", a.threads)
            return {**run, "reference": asked.seconds / a.steps, "whole": run["step"] + asked.seconds / a.steps}

        found = side.alternate(a.repeats, {"TRL": trl, "hone": hone}, lambda turn: (
            f"TRL {turn['TRL']['step']:.3f} s, hone {turn['hone']['step']:.3f} s a step and {turn['hone']['reference']:.3f} s for the reference; "
            f"losses within {side.apart(turn['hone']['losses'], turn['TRL']['losses']):.1e}"))

    rate = machine.gemm_rate(torch.float32)
    flops = machine.products(AutoConfig.from_pretrained(a.model), tokens) * 4 / 3  # forward, twice that backward, and the reference's forward
    limit = flops / rate
    hone, trl = found["hone"], found["TRL"]
    print(f"TRL   {trl['step']:.3f} s a step, {trl['peak'] / 2**30:.2f} GiB at most")
    print(f"hone  {hone['whole']:.3f} s a step ({hone['step']:.3f} without the reference), {hone['peak'] / 2**30:.2f} GiB at most")
    print(f"limit {limit:.3f} s a step: {flops / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s")
    print(json.dumps({"times_trl": round(trl["step"] / hone["whole"], 2), "memory_of_trl": round(hone["peak"] / trl["peak"], 2),
                      "of_limit": round(limit / hone["whole"], 2), "others_busy": round(others, 1)}))


if __name__ == "__main__":
    main()
