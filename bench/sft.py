"""SFT steps of hone and of TRL on the same rows, by turns, several times.

usage: sft.py MODEL [--lora RANK] [--dtype float32|bfloat16] [--rows 4] [--steps 10] [--repeats 3] [--threads 2]
       MODEL: a Hugging Face folder; `just bench sft` makes SmolLM2-135M-Instruct's

Both train on every token of rows of about 120 tokens, with AdamW, a clip of 1 and a falling rate. With --dtype bfloat16 TRL trains with
bf16=True, and once more in float32. A step's time is from the end of one to the end of the next; the first two steps are left out; the
figure of a run is the median of its steps, and the figure printed the median of the runs. The limit is the time that the step's matrix
products alone would take at the machine's best rate.
"""

import json
import tempfile

import torch
from transformers import AutoConfig, AutoTokenizer

import machine
import rows
import side

RATE, LENGTH = 2e-5, 512


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


def arguments(**numbers):
    """The options of a training, and further ones that are numbers, with their defaults."""
    p = side.parser(rows=4, steps=10, threads=2, **numbers)
    p.add_argument("--lora", type=int)
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
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
    with tempfile.TemporaryDirectory() as folder:
        pipeline = side.Pipeline(folder, cue(a), data)

        def trl(dtype):
            lora = ["--lora", a.lora] if a.lora else []
            return side.trainer("trl_sft.py", a.model, f"{folder}/rows.jsonl", a.steps, a.rows, RATE, LENGTH, dtype, *lora, threads=a.threads)

        sides = {"TRL": lambda: trl(a.dtype), "hone": lambda: pipeline.train("tune", a.threads)}
        if a.dtype != "float32":
            sides["TRL in float32"] = lambda: trl("float32")
        worst = []

        def say(turn):
            worst.append(side.apart(turn["hone"]["losses"], turn["TRL"]["losses"]))
            return ", ".join(f"{name} {run['step']:.3f} s" for name, run in turn.items()) + f" a step; losses within {worst[-1]:.1e} of TRL's"

        found = side.alternate(a.repeats, sides, say)

    flops, rate = machine.products(AutoConfig.from_pretrained(a.model), tokens, a.lora), machine.gemm_rate(getattr(torch, a.dtype))
    limit = flops / rate
    for name, run in found.items():
        print(f"{name:14} {run['step']:.3f} s a step, {run['peak'] / 2**30:.2f} GiB at most")
    print(f"limit          {limit:.3f} s a step: {flops / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s")
    hone, trl = found["hone"], found["TRL"]
    ratios = {"times_trl": round(trl["step"] / hone["step"], 2)}
    if "TRL in float32" in found:
        ratios["times_trl_float32"] = round(found["TRL in float32"]["step"] / hone["step"], 2)
    print(json.dumps({**ratios, "memory_of_trl": round(hone["peak"] / trl["peak"], 2), "of_limit": round(limit / hone["step"], 2),
                      "losses_within": round(max(worst), 5), "others_busy": round(others, 1)}))


if __name__ == "__main__":
    main()
