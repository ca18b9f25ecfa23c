"""Runs the two sides of a benchmark as processes of their own: a peer's script, and hone."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
HONE = ROOT / "bin" / "hone"


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
