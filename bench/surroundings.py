"""What a benchmark runs on, and what else runs there."""

import os
import platform
import time


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def busy(seconds=2.0):
    """The processors that other programs keep busy now, as a number of processors; none where the system does not say."""

    def ticks():
        with open("/proc/stat") as f:
            return [int(x) for x in f.readline().split()[1:9]]

    try:
        before = ticks()
        time.sleep(seconds)
        spent = [b - a for a, b in zip(before, ticks())]
    except OSError:
        return 0.0
    return (1 - (spent[3] + spent[4]) / max(sum(spent), 1)) * (os.cpu_count() or 1)


def warn_if_busy():
    """Two threads that share a processor with a third wait for each other at each barrier: PyTorch's steps take up to ten times as long."""
    used = busy()
    if used > 0.1:
        print(f"other programs keep {used:.1f} processors busy: the figures below do NOT hold", flush=True)
    return used
