"""GRPO steps of hone and of TRL on the same prompts, one after the other, several times.

usage: grpo.py MODEL [--generations 8] [--tokens 64] [--steps 6] [--repeats 3] [--threads 2]
       MODEL: a Hugging Face folder; `just bench grpo` makes SmolLM2-135M-Instruct's

A step answers one prompt with so many generations of so many new tokens at most, rewards them (by their length), and updates all
weights in float32. Both sides draw their own answers; the prompts ask for long ones, and how long they came is printed. A step's
time is from the end of one to the end of the next; the first two steps are left out; the figure of a run is the median of its
steps, and the figure printed the median of the runs.
"""

import argparse
import json
import tempfile

import machine
import side
from sft import step_seconds

RATE = 1e-6
TOPICS = ["lighthouse", "river", "clock", "garden", "storm", "library", "train", "mountain", "market", "violin", "harbour", "desert"]


def cue(a):
    return f"""{{
	base: {{kind: "model.load", source: {json.dumps(a.model)}}}
	rows: {{kind: "data.load", source: "rows.jsonl"}}
	tune: {{
		kind: "train.grpo", model: stages.base.out.model, data: stages.rows.out.data
		rewards: length: cel: expression: "double(size(completion)) / 100.0"
		generations: {a.generations}, maxNewTokens: {a.tokens}, maxSteps: {a.steps}, learningRate: {RATE}
		shuffle: false, logEvery: 1, saveEvery: {10 * a.steps}
	}}
}}"""


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    for name, value in dict(generations=8, tokens=64, steps=6, repeats=3, threads=2).items():
        p.add_argument(f"--{name}", type=int, default=value)
    a = p.parse_args()

    data = [{"prompt": f"Tell me a long story about a {TOPICS[i % len(TOPICS)]}."} for i in range(a.steps)]
    print(f"{machine.processor()}, {a.threads} threads; {a.generations} answers of at most {a.tokens} tokens a step; float32, all weights", flush=True)
    others = machine.warn_if_busy()
    found = {"trl": [], "hone": []}
    with tempfile.TemporaryDirectory() as folder:
        pipeline = side.Pipeline(folder, cue(a), data)
        for i in range(a.repeats):
            theirs, _ = side.peer("trl_grpo.py", a.model, f"{folder}/rows.jsonl", a.steps, a.generations, a.tokens, RATE, threads=a.threads)
            found["trl"].append(step_seconds(theirs["ends"]))
            pipeline.run("tune", a.threads)
            ours = pipeline.log("tune")
            found["hone"].append(step_seconds([line["time"] for line in ours]))
            lengths = [machine.median(x) for x in (theirs["lengths"], [line["completions/mean_length"] for line in ours])]
            print(f"  run {i + 1}: TRL {found['trl'][-1]:.2f} s of {lengths[0]:.0f} tokens, hone {found['hone'][-1]:.2f} s of {lengths[1]:.0f} tokens", flush=True)
    trl, hone = machine.median(found["trl"]), machine.median(found["hone"])
    print(f"TRL   {trl:.2f} s a step")
    print(f"hone  {hone:.2f} s a step")
    print(json.dumps({"times_trl": round(trl / hone, 2), "others_busy": round(others, 1)}))


if __name__ == "__main__":
    main()
