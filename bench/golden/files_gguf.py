"""Makes internal/gguf/testdata/blocks.json: blocks of each quantisation and what gguf 0.19 dequantises them to; and
quantised.json: values and what it quantises them to.

Blocks are random bytes with finite scales, so that every bit pattern of the packing takes part.
"""

import base64
import json
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

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

# Blocks of 32 values to quantise: normal ones of several deviations, and those where rounding, order and zeros matter.
values = [random.normal(0, deviation, 32) for deviation in (1, 1e-3, 300, 1e-7) for _ in range(8)]
values += [
    np.zeros(32), np.arange(32) - 16.0, np.arange(32) - 15.5, 16.0 - np.arange(32),
    np.tile([127, -127, 0.5, -0.5], 8), np.tile([127, 1.5, 2.5, -2.5], 8),  # ties at a scale of 1
    np.tile([-8, 8, 0.5, -0.5], 8), np.tile([8, -8, 1.5, -1.5], 8), np.tile([3e-8, -3e-8, 1e-8, 0], 8),
    np.tile([6e4, -6e4, 1, 0], 8),
]
values = np.array(values, dtype=np.float32)
quantised = {name: quantize(values, GGMLQuantizationType[name]) for name in ("Q8_0", "Q4_0", "BF16")}
quantised |= {"F32": values, "F16": values.astype(np.float16)}
(out.parent / "quantised.json").write_text(
    json.dumps({k: base64.b64encode(v.tobytes()).decode() for k, v in quantised.items()}, indent=1) + "\n"
)

# Toy models of each architecture, quantised, written with the keys and the permutation of llama.cpp's converter, and
# what transformers 5.23 reads from them with gguf_file=: the weights' SHA-256 by name, and ids of texts.
import hashlib

import torch
from gguf import GGUFWriter
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

root = pathlib.Path(__file__).parents[2]
models = root / "internal" / "gguf" / "testdata" / "models"
models.mkdir(exist_ok=True)
texts = [
    "Hello world", "two  spaces   three\t tab\n\nnew line\r\n", "héllo ünïcode 漢字かな", "emoji 😀👩‍👩‍👧 🇩🇪", "e\u0301 combining ﬁ",
    "I'll you're it's DON'T", "a_b-c/d\\e {x: [1,2]}", "<|im_start|>user\nhi<|im_end|>\n", "x = 12345 + 6", "",
]
llama3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
toys = {  # name: (architecture, tokenizer, its tokenizer.ggml.pre, config, quantisations in turn)
    "llama": ("llama", "smollm", "smollm", {"num_key_value_heads": 2, "tie_word_embeddings": True}, ["Q4_1", "Q8_0"]),
    "llama3": ("llama", "llama3", "llama-bpe", {"num_key_value_heads": 2, "rope_parameters": llama3}, ["Q5_0", "Q4_0"]),
    "biased": ("llama", "smollm", "smollm", {"num_key_value_heads": 4, "attention_bias": True, "mlp_bias": True}, ["F16"]),
    "qwen2": ("qwen2", "qwen2", "qwen2", {"num_key_value_heads": 2, "tie_word_embeddings": True}, ["Q5_1", "F16"]),
    "qwen3": ("qwen3", "qwen2", "qwen2", {"num_key_value_heads": 2, "head_dim": 16}, ["BF16"]),
}
parts = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}
ends = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}


def place(name):
    if name in ends:
        return ends[name]
    _, _, layer, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{parts[part]}.{kind}"


def write(name, architecture, tokenizer, pre, fields, kinds):
    folder = root / "internal" / "tokenizer" / "testdata" / tokenizer
    saved = json.loads((folder / "tokenizer.json").read_text())
    auto = AutoTokenizer.from_pretrained(folder)
    ids = dict(saved["model"]["vocab"])
    rows = len(ids) + 4  # the embedding is padded, as those of real models are
    config = AutoConfig.for_model(
        architecture, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=rows,
        max_position_embeddings=512, rms_norm_eps=1e-5, **fields,
    )
    torch.manual_seed(len(name))
    model = AutoModelForCausalLM.from_config(config)
    w = GGUFWriter(str(models / f"{name}.gguf"), architecture)
    w.add_block_count(2)
    w.add_context_length(512)
    w.add_embedding_length(32)
    w.add_feed_forward_length(64)
    w.add_head_count(4)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if "head_dim" in fields:
        w.add_key_length(config.head_dim)
        w.add_value_length(config.head_dim)
    else:
        w.add_rope_dimension_count(8)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    special = {a["content"] for a in saved["added_tokens"] if a["special"]}
    tokens = sorted(ids, key=ids.get) + [f"[PAD{i}]" for i in range(len(ids), rows)]
    w.add_token_list(tokens)
    w.add_token_types([3 if t in special else 5 if t.startswith("[PAD") else 1 for t in tokens])
    w.add_token_merges([" ".join(m) for m in saved["model"]["merges"]])
    if auto.bos_token_id is not None:
        w.add_bos_token_id(auto.bos_token_id)
    w.add_eos_token_id(auto.eos_token_id)
    if auto.pad_token_id is not None:
        w.add_pad_token_id(auto.pad_token_id)
    if tokenizer == "llama3":
        w.add_add_bos_token(True)
        w.add_eot_token_id(1)
        head, theta, f = config.head_dim, llama3["rope_theta"], llama3["factor"]
        factors = []
        for wave in 2 * np.pi * theta ** (np.arange(0, head, 2, dtype=np.float64) / head):
            smooth = (8192 / wave - 1) / 3
            factors.append(1 if wave < 8192 / 4 else f if wave > 8192 else 1 / ((1 - smooth) / f + smooth))
        w.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    w.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    matrices = 0
    for key, value in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        v = value.float().numpy() + np.random.default_rng(matrices).normal(0, 0.02, value.shape).astype(np.float32)
        if architecture == "llama" and (".q_proj." in key or ".k_proj." in key):
            heads = 4 if ".q_proj." in key else config.num_key_value_heads
            v = v.reshape(heads, 2, v.shape[0] // heads // 2, *v.shape[1:]).swapaxes(1, 2).reshape(v.shape)
        kind = GGMLQuantizationType.F32
        if v.ndim == 2:
            kind = GGMLQuantizationType[kinds[matrices % len(kinds)]]
            matrices += 1
        v = np.ascontiguousarray(v)
        if kind == GGMLQuantizationType.F16:
            w.add_tensor(place(key), v.astype(np.float16))
        elif kind == GGMLQuantizationType.F32:
            w.add_tensor(place(key), v)
        else:
            w.add_tensor(place(key), quantize(v, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()

    read = AutoModelForCausalLM.from_pretrained(models, gguf_file=f"{name}.gguf", config=config, dtype=torch.float32)
    state = {k: v for k, v in read.state_dict().items() if not (k == "lm_head.weight" and read.config.tie_word_embeddings)}
    (models / f"{name}.json").write_text(json.dumps({
        "tensors": {k: hashlib.sha256(v.contiguous().numpy().tobytes()).hexdigest() for k, v in sorted(state.items())},
        # The tokenizer itself is the oracle for ids: transformers' own GGUF tokenizers leave out Digits and NFC.
        "ids": [[t, auto(t).input_ids] for t in texts],
    }, ensure_ascii=False, indent=1) + "\n")


for name, toy in toys.items():
    write(name, *toy)
