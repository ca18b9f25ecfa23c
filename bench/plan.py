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
HEAD = 'package p\n\nimport "github.com/hone-ml/hone/schemas"\n\nschemas.#Pipeline\n\nname: "p"\n'
PEERS = ROOT / ".tools" / "runners" / "bin"


def hone(shape, n, note=""):
    stages = []
    for i in range(n):
        reads, file = ('files: ["src.txt"]', "src.txt") if i == 0 or shape == "fan" else (f"inputs: x: stages.s{i - 1}.out.o", "in/x/o.txt")
        stages.append(f'\ts{i}: {{kind: "exec", command: ["sh", "-c", "(cat {file}; echo {i}) > out/o/o.txt"], {reads}, out: o: kind: "files"}}')
    return {"p.cue": f'{note}{HEAD}stages: {{\n' + "\n".join(stages) + "\n}\n"}


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


def seconds(argv, cwd, env=None):
    start = time.perf_counter()
    subprocess.run(argv, cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def review(folder, pipelines, repeats):
    """hone diff over a repository of copies of the quickstart, two of which change; hone vet of the quickstart itself."""
    quickstart = ROOT / "examples" / "quickstart"
    folder.mkdir()
    for i in range(pipelines):
        at = folder / f"p{i}"
        shutil.copytree(quickstart, at, ignore=shutil.ignore_patterns("models", "cue.mod", "*.md"))
        for path in at.glob("*.cue"):
            path.write_text(path.read_text().replace("package quickstart", f"package p{i}").replace('name: "quickstart"', f'name: "p{i}"'))
        (at / "models").mkdir()
        (at / "models" / "smollm2-135m-instruct.gguf").write_text("a stand-in: nothing reads it\n")
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "all"]
    for step in (["git", "init", "-q"], ["git", "add", "-A"], commit):
        subprocess.run(step, cwd=folder, check=True)
    for i in range(2):
        for path in (folder / f"p{i}").glob("*.cue"):
            path.write_text(path.read_text().replace("learningRate: 1e-3", "learningRate: 2e-3"))
    env = {**os.environ, "HONE_STORE": str(folder.parent / "review-store")}
    diff = [seconds([HONE, "diff", "HEAD"], folder, env) for _ in range(repeats)]
    vet = [seconds([HONE, "vet", "p5"], folder, env) for _ in range(repeats)]
    print(f"hone diff over {pipelines} pipelines: {statistics.median(diff):.2f} s; hone vet of one: {1000 * statistics.median(vet):.0f} ms", flush=True)


def storing(folder, gigabytes, repeats):
    """A file of random bytes in the page cache: copied and synced, stored by hone, added by dvc; hashed by hone and by BLAKE3's own library."""
    folder.mkdir()
    big = folder / "big"
    with open(big, "wb") as f:
        for _ in range(gigabytes * 16):
            f.write(os.urandom(1 << 26))
    os.sync()
    env = {**os.environ, "PATH": f"{PEERS}:{os.environ['PATH']}", "HONE_STORE": str(folder / "store"), "DVC_NO_ANALYTICS": "1"}
    found = {name: [] for name in ("cp and sync", "hone", "dvc add", "hone hashes", "BLAKE3 hashes")}
    for i in range(repeats):
        copy = folder / "copy"
        found["cp and sync"].append(seconds(["sh", "-c", f"cp {big} {copy} && sync {copy}"], folder))
        copy.unlink()
        at = folder / f"h{i}"
        at.mkdir()
        (at / "p.cue").write_text(HEAD + f'stages: a: {{kind: "exec", command: ["cp", "{big}", "out/o/big"], out: o: kind: "files", env: TURN: "{i}"}}\n')
        found["hone"].append(seconds([HONE, "run"], at, env))
        subprocess.run(["chmod", "-R", "u+w", folder / "store"], check=True)
        shutil.rmtree(folder / "store")
        at = folder / f"d{i}"
        at.mkdir()
        for step in (["git", "init", "-q"], ["dvc", "init", "-q"]):
            subprocess.run(step, cwd=at, env=env, check=True, stdout=subprocess.DEVNULL)
        os.link(big, at / "big")
        found["dvc add"].append(seconds(["dvc", "add", "-q", "big"], at, env))
        shutil.rmtree(at)
        at = folder / f"s{i}"
        at.mkdir()
        os.link(big, at / "big")
        (at / "p.cue").write_text(HEAD + 'stages: a: {kind: "exec", command: ["true"], files: ["big"], out: o: kind: "files"}\n')
        found["hone hashes"].append(seconds([HONE, "plan"], at, {**env, "HONE_STORE": str(folder / f"none{i}")}))
        code = f"import blake3; h = blake3.blake3(max_threads=blake3.blake3.AUTO); h.update_mmap({str(big)!r}); h.digest()"
        found["BLAKE3 hashes"].append(seconds([PEERS / "python", "-c", code], folder))
    said = ", ".join(f"{name} {statistics.median(runs):.2f} s" for name, runs in found.items())
    print(f"{gigabytes} GiB from the page cache: {said} (hone's hashing with its start and the pipeline's evaluation)", flush=True)


def giving(folder, repeats):
    """What it takes a stage more to be given 1 GiB that was verified in this run than one byte: of 200 stages that are given it."""
    folder.mkdir()
    more = []
    for _ in range(repeats):
        took = {}
        for size in (1, 1 << 30):
            for stages in (0, 200):
                (folder / "p.cue").write_text(
                    HEAD + f'stages: {{a: {{kind: "exec", command: ["sh", "-c", "head -c {size} /dev/zero > out/o/big"], out: o: kind: "files"}}\n'
                    + "".join(f'b{i}: {{kind: "exec", command: ["sh", "-c", "echo {i} > out/o/o"], inputs: x: stages.a.out.o, out: o: kind: "files"}}\n' for i in range(stages)) + "}\n")
                took[size, stages] = seconds([HONE, "run", "-j", "1"], folder, {**os.environ, "HONE_STORE": str(folder / "store")})
                subprocess.run(["chmod", "-R", "u+w", folder / "store"], check=True)
                shutil.rmtree(folder / "store")
        more.append((took[1 << 30, 200] - took[1 << 30, 0] - took[1, 200] + took[1, 0]) / 200)
    print(f"a stage is given 1 GiB that was verified in this run: {1000 * statistics.median(more):.1f} ms more than one byte", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--stages", type=int, default=1000)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--tools", default="ninja,snakemake,dvc", help="the peers, by commas")
    p.add_argument("--shapes", default="fan,chain")
    p.add_argument("--pipelines", type=int, default=100, help="that hone diff compares; 0: none")
    p.add_argument("--gigabytes", type=int, default=4, help="that are stored; 0: none")
    p.add_argument("--out", help="also as JSON")
    a = p.parse_args()
    print(surroundings.processor())
    surroundings.warn_if_busy()
    results = {}
    with tempfile.TemporaryDirectory() as tmp:
        if a.pipelines:
            review(pathlib.Path(tmp) / "review", a.pipelines, a.repeats)
        if a.gigabytes:
            storing(pathlib.Path(tmp) / "storing", a.gigabytes, a.repeats)
            giving(pathlib.Path(tmp) / "giving", a.repeats)
        for shape in filter(None, a.shapes.split(",")):
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
