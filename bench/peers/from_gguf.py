"""A GGUF file as a Hugging Face folder in float32, by transformers' own reader: what peers and goldens load.

usage: from_gguf.py FILE.gguf DIR
"""

import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

source, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
tok = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
del model.config.quantization_config
plain = AutoModelForCausalLM.from_config(model.config).float()  # a dequantised model still counts as quantised when it is saved
plain.load_state_dict(model.state_dict())
plain.save_pretrained(target)
tok.save_pretrained(target)
print(target)
