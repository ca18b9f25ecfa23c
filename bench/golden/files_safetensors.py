"""Makes internal/safetensors/testdata/reference.safetensors with the reference implementation (safetensors 0.8)."""

import pathlib

import torch
from safetensors.torch import save_file

out = pathlib.Path(__file__).parents[2] / "internal" / "safetensors" / "testdata" / "reference.safetensors"
out.parent.mkdir(parents=True, exist_ok=True)
save_file(
    {
        "b.u8": torch.arange(5, dtype=torch.uint8),
        "b.f32": torch.tensor(2.5),
        "b.i64": torch.tensor([-1, 1 << 40]),
        "b.bool": torch.tensor([True, False]),
        "a.f32": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "a.f16": torch.tensor([[1.0, -2.0], [0.5, 65504.0]], dtype=torch.float16),
        "a.bf16": torch.tensor([1.0, 3.0e38, -0.0], dtype=torch.bfloat16),
        "empty": torch.empty(0, 4),
        'näme "quoted" <&>': torch.tensor([7.0]),
    },
    out,
    metadata={"format": "pt"},
)
