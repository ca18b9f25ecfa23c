"""What a machine could do at most: its processor's name, and the best rates that anything reached here.

The rates are those of the fastest path that is known, not of the one that a library takes by itself: on some processors
stock PyTorch multiplies f32 matrices at less than half of it.
"""

import os
import platform
import statistics
import time

import torch


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


def best(work, seconds=1.5):
    """The shortest of the calls that fit in some seconds, after one that is not counted."""
    work()
    shortest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest


def gemm_rate(dtype, tokens=512, inputs=1024, outputs=1024):
    """Floating-point operations a second of a linear layer, by the best of PyTorch's own call and oneDNN's."""
    x, w = torch.randn(tokens, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype)
    calls = [lambda: torch.nn.functional.linear(x, w)]
    if torch.backends.mkldnn.is_available():
        calls.append(lambda: torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], ""))
    with torch.no_grad():
        return 2 * tokens * inputs * outputs / min(best(call) for call in calls)


def read_bandwidth(megabytes=1024):
    """Bytes a second that all threads together read from memory: a sum over what no cache holds, of whole numbers, which add faster."""
    x = torch.ones(megabytes * 1024 * 1024 // 8, dtype=torch.int64)
    return x.numel() * 8 / best(lambda: x.sum())


def median(values):
    return statistics.median(values)
