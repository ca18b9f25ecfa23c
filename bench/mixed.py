"""SFT of hone and of TRL on rows of 16 to 1,024 tokens, by turns, several times: tokens a second.

usage: mixed.py MODEL [--dtype float32|bfloat16] [--rows 8] [--bins 2] [--steps 8] [--repeats 3] [--threads 2]
       MODEL: a Hugging Face folder; `just bench mixed` makes SmolLM2-135M-Instruct's

TRL trains on so many rows a step, padded to the longest of them, and on so many bins of 1,024 tokens, in which it packs the rows; hone on the
same bins. TRL has bins in order of their longest row, hone of their first: the rows that are packed come longest first. All weights are
trained, on all tokens, in order. Tokens a second are those of rows, padding left out, from the end of the second step to that of the last. The
limit is the matrix products of those tokens at the machine's best rate.
"""

import json
import tempfile

import torch
from transformers import AutoConfig, AutoTokenizer

import machine
import rows
import side

RATE, LENGTH = 2e-5, 1024


def cue(a):
    return f"""{{
	base: {{kind: "model.load", source: {json.dumps(a.model)}}}
	rows: {{kind: "data.load", source: "sorted.jsonl"}}
	tune: {{
		kind: "train.sft", model: stages.base.out.model, data: stages.rows.out.data, loss: "all", packing: true
		maxSteps: {a.steps}, learningRate: {RATE}, maxLength: {LENGTH}, batch: {{rows: {a.bins}, accumulate: 1}}
		shuffle: false, logEvery: 1, dtype: "{a.dtype}", saveEvery: {10 * a.steps}
	}}
}}"""


def speed(run):
    """Tokens a second of all steps but the first two."""
    return {**run, "speed": (run["tokens"][-1] - run["tokens"][1]) / (run["ends"][-1] - run["ends"][1])}


def main():
    p = side.parser(rows=8, bins=2, steps=8, repeats=3, threads=2)
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    a = p.parse_args()
    torch.set_num_threads(a.threads)

    data = rows.mixed(a.rows * a.steps, longest=LENGTH)
    tok = AutoTokenizer.from_pretrained(a.model)
    lengths = [len(tok(row["text"])["input_ids"]) + 1 for row in data]
    print(f"{machine.processor()}, {a.threads} threads; {len(data)} rows of {min(lengths)} to {max(lengths)} tokens, {sum(lengths)} in all; {a.dtype}, all weights", flush=True)

    others = machine.warn_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        pipeline = side.Pipeline(folder, cue(a), data)

        with open(f"{folder}/sorted.jsonl", "w") as f:
            f.writelines(json.dumps(row) + "\n" for _, row in sorted(zip(lengths, data), key=lambda pair: -pair[0]))

        def trl(name, n, *more):
            return speed(side.trainer("trl_sft.py", a.model, f"{folder}/{name}.jsonl", a.steps, n, RATE, LENGTH, a.dtype, *more, threads=a.threads))

        def hone():
            run = pipeline.train("tune", a.threads)
            return speed({**run, "tokens": [line["num_tokens"] for line in run["log"]]})

        found = side.alternate(a.repeats, {"TRL, padded": lambda: trl("rows", a.rows), "TRL, packed": lambda: trl("sorted", a.bins, "--packing"), "hone": hone}, lambda turn: (
            ", ".join(f"{name} {run['speed']:.0f} tokens/s" for name, run in turn.items())
            + f"; losses of bins within {side.apart(turn['hone']['losses'], turn['TRL, packed']['losses']):.1e}"))

    limit = machine.gemm_rate(getattr(torch, a.dtype)) / machine.products(AutoConfig.from_pretrained(a.model), 1)
    for name, run in found.items():
        print(f"{name:11} {run['speed']:.0f} tokens/s, {run['peak'] / 2**30:.2f} GiB at most")
    print(f"limit       {limit:.0f} tokens/s")
    padded, packed, hone = (found[name]["speed"] for name in ("TRL, padded", "TRL, packed", "hone"))
    print(json.dumps({"times_trl_padded": round(hone / padded, 2), "times_trl_packed": round(hone / packed, 2), "of_limit": round(hone / limit, 2),
                      "others_busy": round(others, 1)}))


if __name__ == "__main__":
    main()
