"""hone beside dvc, snakemake and ninja: the same graph of small stages for each, cold and with nothing to do.

A stage is one shell command that writes a file; for hone it is of kind exec. A fan's stages read one source, a chain's the one before.
The peers are in an environment of their own, made by build/runners.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import surroundings

ROOT = pathlib.Path(__file__).resolve().parents[1]
HONE = ROOT / "bin" / "hone"
PEERS = ROOT / ".tools" / "runners" / "bin"


def hone(shape, n, note=""):
    stages = []
    for i in range(n):
        reads, file = ('files: ["src.txt"]', "src.txt") if i == 0 or shape == "fan" else (f"inputs: x: stages.s{i - 1}.out.o", "in/x/o.txt")
        stages.append(f'\ts{i}: {{kind: "exec", command: ["sh", "-c", "(cat {file}; echo {i}) > out/o/o.txt"], {reads}, out: o: kind: "files"}}')
    head = 'package p\n\nimport "github.com/hone-ml/hone/schemas"\n\nschemas.#Pipeline\n'
    return {"p.cue": f'{note}{head}\nname: "p"\nstages: {{\n' + "\n".join(stages) + "\n}\n"}


def before(shape, i):
    return "src.txt" if i == 0 or shape == "fan" else f"o{i - 1}.txt"


def dvc(shape, n):
    lines = ["stages:"]
    for i in range(n):
        lines += [f"  s{i}:", f"    cmd: (cat {before(shape, i)}; echo {i}) > o{i}.txt", f"    deps: [{before(shape, i)}]", f"    outs: [o{i}.txt]"]
    return {"dvc.yaml": "\n".join(lines) + "\n"}


def snakemake(shape, n):
    last = f'expand("o{{i}}.txt", i=range({n}))' if shape == "fan" else f'"o{n - 1}.txt"'
    read = '"src.txt"' if shape == "fan" else 'lambda w: "src.txt" if w.i == "0" else f"o{int(w.i) - 1}.txt"'
    return {"Snakefile": f'rule all:\n    input: {last}\nrule s:\n    input: {read}\n    output: "o{{i}}.txt"\n'
            '    shell: "(cat {input}; echo {wildcards.i}) > {output}"\n'}


def ninja(shape, n):
    lines = ["rule s", "  command = (cat $in; echo $i) > $out"]
    for i in range(n):
        lines += [f"build o{i}.txt: s {before(shape, i)}", f"  i = {i}"]
    return {"build.ninja": "\n".join(lines) + "\n"}


class Tool:
    """A runner with a pipeline of its own in a folder of its own."""

    def __init__(self, name, make, argv, folder, shape, n):
        self.name, self.argv, self.folder, self.n = name, argv, folder / name, n
        self.folder.mkdir(parents=True)
        self.write({"src.txt": "seed 0\n", **make(shape, n)})
        self.env = {**os.environ, "PATH": f"{PEERS}:{os.environ['PATH']}", "HONE_STORE": str(self.folder / "store"), "DVC_NO_ANALYTICS": "1"}
        if name == "dvc":
            for step in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "config", "core.check_update", "false"]):
                subprocess.run(step, cwd=self.folder, env=self.env, check=True, stdout=subprocess.DEVNULL)

    def write(self, files):
        for name, content in files.items():
            (self.folder / name).write_text(content)

    def run(self):
        """Wall and processor seconds, peak memory in MB and the exit code of one run."""
        start = time.perf_counter()
        p = subprocess.Popen(self.argv, cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = p.stderr.read()
        _, status, used = os.wait4(p.pid, 0)
        wall = time.perf_counter() - start
        p.returncode = os.waitstatus_to_exitcode(status)
        if p.returncode and self.name == "hone":
            sys.exit(said.decode()[-2000:])
        return {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1024, "code": p.returncode}


TOOLS = {
    "hone": (hone, [str(HONE), "run"]),
    "ninja": (ninja, ["ninja"]),
    "snakemake": (snakemake, ["snakemake", "--cores", "2", "--quiet"]),
    "dvc": (dvc, ["dvc", "repro", "-q"]),
}


def median(runs, key):
    return statistics.median(r[key] for r in runs)


def line(what, found):
    ours = found["hone"]
    parts = []
    for name, runs in found.items():
        if runs is None:
            continue
        ratio = "" if name == "hone" else f" ({median(runs, 'wall') / median(ours, 'wall'):.1f}×)"
        parts.append(f"{name} {1000 * median(runs, 'wall'):,.1f} ms{ratio}")
    print(f"{what}: {', '.join(parts)}; hone {1000 * median(ours, 'cpu'):,.1f} ms of processor, {median(ours, 'peak'):.0f} MB", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--stages", type=int, default=1000)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--tools", default="ninja,snakemake,dvc", help="the peers, by commas")
    p.add_argument("--shapes", default="fan,chain")
    p.add_argument("--out", help="also as JSON")
    a = p.parse_args()
    print(surroundings.processor())
    surroundings.warn_if_busy()
    results = {}
    with tempfile.TemporaryDirectory() as tmp:
        for shape in a.shapes.split(","):
            names = ["hone", *filter(None, a.tools.split(","))]
            tools = [Tool(name, *TOOLS[name], pathlib.Path(tmp) / shape, shape, a.stages) for name in names]
            cold, still = {}, {t.name: [] for t in tools}
            for t in tools:
                cold[t.name] = [t.run()]
                if cold[t.name][0]["code"]:
                    print(f"{shape} of {a.stages}: {t.name} ends with exit code {cold[t.name][0]['code']}", flush=True)
                    still.pop(t.name), cold.pop(t.name)
            for _ in range(a.repeats):
                for t in tools:
                    if t.name in still:
                        still[t.name].append(t.run())
            line(f"{shape} of {a.stages}, cold", cold)
            line(f"{shape} of {a.stages}, nothing to do", still)
            ours, edits = tools[0], {"comments": [], "a rename": []}
            for i in range(a.repeats):
                ours.write(hone(shape, a.stages, note=f"// {i}\n\n"))
                edits["comments"].append(ours.run())
            for i in range(a.repeats):
                renamed = hone(shape, a.stages)["p.cue"].replace(f"\ts{a.stages - 1}:", f"\tlast{i}:")
                ours.write({"p.cue": renamed})
                edits["a rename"].append(ours.run())
            for what, runs in edits.items():
                print(f"{shape} of {a.stages}, hone after {what}: {1000 * median(runs, 'wall'):,.1f} ms", flush=True)
            results[shape] = {"cold": cold, "still": still, "edits": edits}
            shutil.rmtree(pathlib.Path(tmp) / shape)
    if a.out:
        pathlib.Path(a.out).write_text(json.dumps(results, indent=1))


main()
