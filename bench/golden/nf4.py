"""Matrices that bitsandbytes quantised to NF4 on the CPU, as it dequantises them.

usage: nf4.py           writes internal/model/testdata/nf4.safetensors

NAME.source       [rows, in] float32
NAME.dense        what comes back, in float32; in bfloat16, stored as float32, where the matrix is named so
NAME.double       the same with scales that are quantised too

Rows of 80 begin within blocks, and the last block of that matrix is not whole; wide has more than 256 blocks. In steps some scales
do not go to the nearest value of the dynamic map, since its CPU code looks them up in 65,536 steps. In divided an element of the last
block, which is not whole, lies where division by the greatest magnitude and multiplication by its reciprocal give different codes.
"""

import bitsandbytes.functional as bnb
import torch
from safetensors.torch import save_file

from common import INTERNAL, metadata

SHAPES = {"ragged": (9, 80), "wide": (66, 256), "bfloat16": (24, 96), "steps": (32, 256), "divided": (3, 30)}


def draw(name, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(shape, generator=generator) * torch.rand((shape[0], 1), generator=generator)
    if name == "ragged":
        source[2, 10:] = 0
        source[3] = 0
    if name == "divided":
        levels = bnb.get_4bit_type("nf4", device="cpu")
        source[2, 29] = source[2, 28].abs() * (levels[9] + levels[10]) / 2
    return source.bfloat16() if name == "bfloat16" else source


def shows(name, source):
    """Whether a matrix has what it is there for."""
    if name == "steps":
        scales = source.reshape(-1, 64).abs().max(1).values
        far, state = scales - scales.mean(), bnb.quantize_4bit(source, quant_type="nf4", compress_statistics=True)[1]
        code = state.state2.code
        return bool((torch.bucketize(far * (1 / far.abs().max()), (code[:-1] + code[1:]) / 2) != state.absmax).any())
    if name == "divided":
        levels, last = bnb.get_4bit_type("nf4", device="cpu"), source.flatten()[64:]
        most, bounds = last.abs().max(), (levels[:-1] + levels[1:]) / 2
        return bool((torch.bucketize(last / most, bounds) != torch.bucketize(last * (1 / most), bounds)).any())
    return True


if __name__ == "__main__":
    out = {}
    for first, (name, shape) in enumerate(SHAPES.items()):
        source = next(s for seed in range(first, 1000) if shows(name, s := draw(name, shape, seed)))
        out[f"{name}.source"] = source.float()
        for kind, double in {"dense": False, "double": True}.items():
            # Flat: its AVX-512 code takes the scales of other blocks where a row is not whole ones.
            packed = bnb.quantize_4bit(source.flatten(), quant_type="nf4", compress_statistics=double)
            out[f"{name}.{kind}"] = bnb.dequantize_4bit(*packed).float().reshape(shape)
    path = INTERNAL / "model" / "testdata" / "nf4.safetensors"
    save_file(out, path, metadata=metadata("bitsandbytes"))
    print(f"{path.name}  {path.stat().st_size / 1000:.1f} kB")
