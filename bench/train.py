"""All benchmarks of training, with few steps, and their ratios in one table.

usage: train.py MODEL [--steps 6] [--repeats 3] [--threads 2] [NAME...]
       MODEL: a Hugging Face folder; `just bench train` makes SmolLM2-135M-Instruct's
       NAME: only these of the table's first column

Beside each ratio stands how far hone is from the machine's limit: the share of the time that the limit would take. What a figure is, and its
limit, each script says.
"""

import json
import pathlib
import subprocess
import sys

import side

SET = {
    "sft": ("sft.py",),
    "sft-bf16": ("sft.py", "--dtype", "bfloat16"),
    "lora": ("sft.py", "--lora", "16"),
    "dpo": ("dpo.py",),
    "grpo": ("grpo.py",),
    "rollouts": ("rollouts.py",),
    "mixed": ("mixed.py",),
}


def run(script, *arguments):
    """Lets a benchmark's lines through, and returns its last one."""
    process = subprocess.Popen([sys.executable, pathlib.Path(__file__).parent / script, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    line = ""
    for line in process.stdout:
        print(f"  {line}", end="", flush=True)
    if process.wait() != 0:
        sys.exit(f"{script}: exit {process.returncode}")
    return json.loads(line)


def main():
    p = side.parser(steps=6, repeats=3, threads=2)
    p.add_argument("names", nargs="*", metavar="NAME", default=[*SET])
    a = p.parse_intermixed_args()  # names may follow options
    if unknown := set(a.names) - set(SET):
        p.error(f"no {', '.join(unknown)}: {', '.join(SET)}")
    found = {}
    for name in a.names:
        script, *options = SET[name]
        print(f"{name}: {script} {' '.join(options)}", flush=True)
        steps = [] if script == "rollouts.py" else ["--steps", a.steps]
        found[name] = run(script, a.model, *options, *steps, "--repeats", a.repeats, "--threads", a.threads)
    print(f"\n{'':10} {'of limit':>8}  times")
    for name, figures in found.items():
        times = ", ".join(f"{key.removeprefix('times_')} {value}" for key, value in figures.items() if key.startswith("times_"))
        print(f"{name:10} {figures['of_limit']:>8.0%}  {times}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
