"""Where the time of a training step goes, by samples of perf.

usage: perf.py MODEL [--lora RANK] [--dtype float32|bfloat16] [--rows 4] [--steps 10] [--threads 2] [--top 8]
       MODEL: a Hugging Face folder; `just bench perf` makes SmolLM2-135M-Instruct's

The training is that of sft.py. Samples of hone-worker's threads count from the end of its second step to the end of its last:
reading the model and writing the result do not. Each thread is sampled while it runs, on the processor's clock. Kernels are
libtorch with the MKL and oneDNN in it, and the operators of our own; what is outside them is named, function by function.
"""

import collections
import json
import shutil
import subprocess
import sys
import tempfile
import time

import machine
import rows
import sft
import side

KERNELS = ["matrix products (MKL, oneDNN)", "other operators of libtorch", "operators of our own"]
GO = ("runtime.", "runtime/", "internal/runtime", "gc", "sync.", "syscall.", "internal/")


def kind(symbol, library):
    """What a sample belongs to, by its function and the library or program that holds it."""
    if library.startswith("[kernel") or library.startswith("[guest.kernel"):
        return "kernel"
    if "libgomp" in library or "libiomp" in library:
        return "threads that wait for each other (OpenMP)"
    if "libtorch" in library or "libc10" in library or "libmkl" in library:
        products = "mkl_" in symbol or "dnnl" in symbol or "gemm" in symbol.lower() or symbol == "[unknown]"
        return KERNELS[0] if products else KERNELS[1]
    if library in ("[unknown]", "//anon", "anon", "[heap]"):
        return KERNELS[0]  # what oneDNN and MKL compile while they run
    if library.endswith("hone-worker"):
        if "hone" in symbol and "github.com" not in symbol:
            return KERNELS[2]
        if symbol.startswith(GO):
            return "Go's runtime"
        return "hone in Go, cgo"
    return "C library"


def samples(record, start, end):
    """(function, library) of each sample of hone-worker between two moments of the monotonic clock, in seconds."""
    fields = subprocess.run(["perf", "script", "-i", record, "--comm", "hone-worker", "-F", "time,ip,sym,dso"], capture_output=True, text=True, check=True).stdout
    for line in fields.splitlines():
        moment, rest = line.strip().split(":", 1)
        if start <= float(moment) <= end:
            symbol, library = rest.strip().split(" ", 1)[1].rsplit(" (", 1)
            yield symbol.strip(), library.rstrip(")")


def main():
    a = sft.arguments(top=8)
    if not shutil.which("perf"):
        sys.exit("perf is missing: apt install linux-perf (Debian), linux-tools-$(uname -r) (Ubuntu), perf (Fedora)")
    print(f"{machine.processor()}, {a.threads} threads; {a.rows} rows a step; {a.dtype}" + (f", LoRA r={a.lora} all-linear" if a.lora else ", all weights"), flush=True)
    others = machine.warn_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        pipeline = side.Pipeline(folder, sft.cue(a), rows.conversations(a.rows * a.steps))
        record = f"{folder}/perf.data"
        pipeline.run("tune", a.threads, under=["perf", "record", "-q", "-e", "cpu-clock", "-F", 997, "-k", "monotonic", "-o", record, "--"])
        shift = time.clock_gettime(time.CLOCK_MONOTONIC) - time.time()
        ends = [line["time"] + shift for line in pipeline.log("tune")]
        count = collections.Counter(samples(record, ends[1], ends[-1]))

    total = sum(count.values())
    kinds = collections.Counter()
    for (symbol, library), n in count.items():
        kinds[kind(symbol, library)] += n
    for name in KERNELS + [name for name, _ in kinds.most_common() if name not in KERNELS]:
        print(f"{kinds[name] / total:6.1%}  {name}")
    outside = 1 - sum(kinds[name] for name in KERNELS) / total
    print(f"{outside:6.1%}  outside the kernels:")
    beyond = [(n, symbol, library) for (symbol, library), n in count.most_common() if kind(symbol, library) not in KERNELS]
    for n, symbol, library in beyond[:a.top]:
        print(f"  {n / total:6.2%}  {symbol[:100]} ({library.rsplit('/', 1)[-1]})")
    step = (ends[-1] - ends[1]) / (len(ends) - 2)
    print(json.dumps({"outside_kernels": round(outside, 3), "samples": total, "step": round(step, 3), "others_busy": round(others, 1)}))


if __name__ == "__main__":
    main()
