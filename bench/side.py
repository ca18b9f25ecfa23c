"""Runs the sides of a benchmark as processes of their own, a peer's script and hone, and lets them take turns."""

import argparse
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import machine

ROOT = pathlib.Path(__file__).resolve().parents[1]
HONE = ROOT / "bin" / "hone"


def parser(**numbers):
    """The options of a benchmark: a model, and numbers with their defaults."""
    p = argparse.ArgumentParser()
    p.add_argument("model", type=os.path.abspath)
    for name, value in numbers.items():
        p.add_argument(f"--{name}", type=int, default=value)
    return p


def alternate(repeats, sides, say):
    """Has the sides take turns, so that what slows the machine slows them alike. A side is a function that runs it once and returns its
    figures; say makes a line of those of one turn. Returns the medians of each side's figures that are numbers."""
    found = {name: [] for name in sides}
    for i in range(repeats):
        for name, once in sides.items():
            found[name].append(once())
        print(f"  run {i + 1}: {say({name: runs[-1] for name, runs in found.items()})}", flush=True)
    return {name: {key: machine.median(run[key] for run in runs) for key, value in runs[0].items() if isinstance(value, (int, float))}
            for name, runs in found.items()}


def step_seconds(ends):
    """The median distance of the ends of steps, without the first two."""
    return machine.median(b - a for a, b in itertools.pairwise(ends[1:]))


def apart(losses, others):
    """The largest relative difference of two traces of losses."""
    return max(abs(a - b) / b for a, b in zip(losses, others, strict=True))


class Ran:
    """A process that ended well: its standard output, how long it took and its peak memory with its children's, in bytes."""

    def __init__(self, argv, env, cwd=None):
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            start = time.perf_counter()
            process = subprocess.Popen([str(a) for a in argv], stdout=out, stderr=err, env=env, cwd=cwd)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.seconds = time.perf_counter() - start
            self.peak = usage.ru_maxrss * 1024
            out.seek(0), err.seek(0)
            self.out = out.read()
            if process.returncode != 0:
                sys.exit(f"{' '.join(map(str, argv))}: exit {process.returncode}\n{self.out[-2000:]}{err.read()[-4000:]}")


def peer(script, *arguments, threads):
    """The last line that a script of peers/ prints, as JSON, and the process."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    ran = Ran([sys.executable, "-W", "ignore", ROOT / "bench" / "peers" / script, *arguments], env)
    return json.loads(ran.out.strip().splitlines()[-1]), ran


def trainer(script, *arguments, threads):
    """A peer's training: what its script prints, what a step takes, and peak memory."""
    printed, ran = peer(script, *arguments, threads=threads)
    return {**printed, "step": step_seconds(printed["ends"]), "peak": ran.peak}


class Pipeline:
    """A pipeline in a folder and a store of its own. What is measured runs again by --force; the rest is reused."""

    def __init__(self, folder, stages, rows):
        self.folder, self.store = pathlib.Path(folder), pathlib.Path(folder) / "store"
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (self.folder / "pipeline.cue").write_text('package bench\n\nimport "github.com/hone-ml/hone/schemas"\n\nschemas.#Pipeline\n\nname: "bench"\n'
                                                  f"stages: {stages}\n")

    def hone(self, *arguments, under=()):
        return Ran([*under, HONE, *arguments], {**os.environ, "HONE_STORE": str(self.store)}, cwd=self.folder)

    def run(self, stage, threads, under=()):
        """That stage anew, started by the command `under`. Returns its metrics and the process."""
        ran = self.hone("run", "--json", "--threads", threads, "--force", stage, "--stage", stage, under=under)
        found = next(s for s in json.loads(ran.out)["stages"] if s["name"] == stage)
        return found["metrics"], ran

    def log(self, stage):
        """A dictionary for each logged step."""
        return [json.loads(line) for line in self.hone("log", stage, "--json").out.splitlines()]

    def train(self, stage, threads):
        """A training anew: what a step takes, its log, the ends and losses of its steps, and peak memory."""
        _, ran = self.run(stage, threads)
        log = self.log(stage)
        ends = [line["time"] for line in log]
        return {"step": step_seconds(ends), "peak": ran.peak, "ends": ends, "losses": [line["loss"] for line in log], "log": log}
