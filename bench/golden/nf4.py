"""Matrices that bitsandbytes quantised to NF4 on the CPU, as it dequantises them.

usage: nf4.py           writes internal/model/testdata/nf4.safetensors

NAME.source       [rows, in] float32
NAME.dense        what comes back, in float32; in bfloat16, stored as float32, where the matrix is named so
NAME.double       the same with scales that are quantised too

Rows of 80 begin within blocks, and the last block of that matrix is not whole; wide has more than 256 blocks.
"""

import bitsandbytes.functional as bnb
import torch
from safetensors.torch import save_file

from common import INTERNAL, metadata

SHAPES = {"ragged": (9, 80), "wide": (66, 256), "bfloat16": (24, 96)}

if __name__ == "__main__":
    out = {}
    for seed, (name, shape) in enumerate(SHAPES.items()):
        generator = torch.Generator().manual_seed(seed)
        source = torch.randn(shape, generator=generator) * torch.rand((shape[0], 1), generator=generator)
        if name == "ragged":
            source[2, 10:] = 0
            source[3] = 0
        if name == "bfloat16":
            source = source.bfloat16()
        out[f"{name}.source"] = source.float()
        for kind, double in {"dense": False, "double": True}.items():
            out[f"{name}.{kind}"] = bnb.dequantize_4bit(*bnb.quantize_4bit(source, quant_type="nf4", compress_statistics=double)).float()
    path = INTERNAL / "model" / "testdata" / "nf4.safetensors"
    save_file(out, path, metadata=metadata("bitsandbytes"))
    print(f"{path.name}  {path.stat().st_size / 1000:.1f} kB")
