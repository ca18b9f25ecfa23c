"""GRPO steps of hone and of TRL on the same prompts, by turns, several times.

usage: grpo.py MODEL [--generations 8] [--tokens 64] [--steps 6] [--repeats 3] [--threads 2]
       MODEL: a Hugging Face folder; `just bench grpo` makes SmolLM2-135M-Instruct's

A step answers one prompt with so many generations of so many new tokens at most, rewards them (by their length), and updates all
weights in float32. Both sides draw their own answers; the prompts ask for long ones, and how long they came is printed. A step's
time is from the end of one to the end of the next; the first two steps are left out; the figure of a run is the median of its
steps, and the figure printed the median of the runs. The limit is that of reading the prompt, of each token of the answers, and of the
update's matrix products.
"""

import json
import tempfile

import torch
from transformers import AutoConfig, AutoTokenizer

import machine
import side

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


def limit(a, prompt, answer):
    """Seconds of a step at the machine's best rates, for a prompt and answers of so many tokens."""
    config, rate = AutoConfig.from_pretrained(a.model), machine.gemm_rate(torch.float32)
    layers, _ = machine.weights(config)
    read = 2 * layers * prompt / rate
    return read + answer * machine.decoding(config, a.generations) + machine.products(config, a.generations * (prompt + answer)) / rate


def main():
    a = side.parser(generations=8, tokens=64, steps=6, repeats=3, threads=2).parse_args()
    torch.set_num_threads(a.threads)

    data = [{"prompt": f"Tell me a long story about a {TOPICS[i % len(TOPICS)]}."} for i in range(a.steps)]
    print(f"{machine.processor()}, {a.threads} threads; {a.generations} answers of at most {a.tokens} tokens a step; float32, all weights", flush=True)
    others = machine.warn_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        pipeline = side.Pipeline(folder, cue(a), data)

        def trl():
            run = side.trainer("trl_grpo.py", a.model, f"{folder}/rows.jsonl", a.steps, a.generations, a.tokens, RATE, threads=a.threads)
            return {**run, "length": machine.median(run["lengths"])}

        def hone():
            run = pipeline.train("tune", a.threads)
            return {**run, "length": machine.median(line["completions/mean_length"] for line in run["log"])}

        found = side.alternate(a.repeats, {"TRL": trl, "hone": hone}, lambda turn: ", ".join(
            f"{name} {run['step']:.2f} s of {run['length']:.0f} tokens" for name, run in turn.items()))
    tok = AutoTokenizer.from_pretrained(a.model)
    prompt = machine.median(len(tok.apply_chat_template([{"role": "user", "content": row["prompt"]}], add_generation_prompt=True, return_dict=True)["input_ids"]) for row in data)
    hone, trl = found["hone"], found["TRL"]
    least = limit(a, prompt, hone["length"])
    print(f"TRL   {trl['step']:.2f} s a step")
    print(f"hone  {hone['step']:.2f} s a step")
    print(f"limit {least:.2f} s a step")
    print(json.dumps({"times_trl": round(trl["step"] / hone["step"], 2), "of_limit": round(least / hone["step"], 2), "others_busy": round(others, 1)}))


if __name__ == "__main__":
    main()
