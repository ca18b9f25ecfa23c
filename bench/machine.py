"""What a machine could do at most: its processor's name, the best rates that anything reached here, and what a model asks of them.

The rates are those of the fastest path that is known, not of the one that a library takes by itself: on some processors
stock PyTorch multiplies f32 matrices at less than half of it.
"""

import statistics
import time

import torch

from surroundings import busy, processor, warn_if_busy  # noqa: F401, other benchmarks read them here


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


def weights(config):
    """A model's weights in matrix products: those of all layers, and those of the head."""
    d, heads, kv = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    head = getattr(config, "head_dim", None) or d // heads
    layer = d * heads * head * 2 + d * kv * head * 2 + d * config.intermediate_size * 3
    return config.num_hidden_layers * layer, d * config.vocab_size


def products(config, tokens, lora=None):
    """Floating-point operations of a training step's matrix products: 2 a weight and token forward, twice that backward.

    LoRA needs no gradient of the weights that it leaves as they are; its own, on all linear layers, are counted in full.
    """
    d, heads, kv = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
    head = getattr(config, "head_dim", None) or d // heads
    if not lora:
        return 6 * tokens * sum(weights(config))
    ends = [d + heads * head] * 2 + [d + kv * head] * 2 + [d + config.intermediate_size] * 3
    return tokens * (4 * sum(weights(config)) + 6 * config.num_hidden_layers * lora * sum(ends))


def decoding(config, rows):
    """Seconds that one more token of so many sequences takes in float32 at least: the weights are read once, and multiplied with each."""
    n = sum(weights(config))
    return max(4 * n / read_bandwidth(), 2 * n * rows / gemm_rate(torch.float32))


def median(values):
    return statistics.median(values)
