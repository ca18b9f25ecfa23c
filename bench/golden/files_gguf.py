"""Makes internal/gguf/testdata/blocks.json: blocks of each quantisation and what gguf 0.19 dequantises them to.

Blocks are random bytes with finite scales, so that every bit pattern of the packing takes part.
"""

import base64
import json
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

scales = {  # type: byte offsets of its float16 scales in a block
    "F16": [0], "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
random = np.random.default_rng(7)
golden = {}
for name, offsets in scales.items():
    kind = GGMLQuantizationType[name]
    values, size = GGML_QUANT_SIZES[kind]
    blocks = max(3, 96 // values)
    raw = random.integers(0, 256, (blocks, size), dtype=np.uint8)
    if name == "BF16":
        raw[:, 1] &= 0xBF  # exponents below 2: no infinities
    for at in offsets:
        raw[:, at : at + 2] = random.normal(0, 0.1, (blocks, 1)).astype(np.float16).view(np.uint8)
    flat = raw.reshape(-1)
    value = flat.view(np.float16).astype(np.float32) if name == "F16" else dequantize(flat, kind).astype(np.float32)
    golden[name] = {
        "data": base64.b64encode(flat.tobytes()).decode(),
        "float32": base64.b64encode(value.tobytes()).decode(),
    }
# float16's corners: zeros, subnormals, the largest, infinities
corners = np.array([0, 0x8000, 1, 0x03FF, 0x0400, 0x8001, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00], dtype=np.uint16)
golden["F16"]["data"] = base64.b64encode(corners.tobytes() + base64.b64decode(golden["F16"]["data"])).decode()
golden["F16"]["float32"] = base64.b64encode(
    corners.view(np.float16).astype(np.float32).tobytes() + base64.b64decode(golden["F16"]["float32"])
).decode()
out = pathlib.Path(__file__).parents[2] / "internal" / "gguf" / "testdata" / "blocks.json"
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(json.dumps(golden, indent=1) + "\n")
