"""Makes internal/gguf/testdata/models/ of the architectures and tokenizers that files_gguf.py leaves out: Gemma 2 and 3, Phi-3,
OLMo 2, SmolLM3 and GPT-2, and sentencepiece's tokenizers, with the keys, the tensor names and the changes of values of
llama.cpp's converter. Run files_tokenizer.py before.

The weights' SHA-256 are of what was written, dequantised and changed back; where transformers reads the architecture from
GGUF, it must read the same. Ids are sentencepiece's own, or of the tokenizer's folder.
"""

import hashlib
import io
import json

import numpy as np
import sentencepiece
import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, get_tensor_name_map
from gguf.quants import dequantize, quantize
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from common import INTERNAL, randomise

OUT = INTERNAL / "gguf" / "testdata" / "models"
TEXTS = [
    "Hello world", "two  spaces   three\t tab\n\nnew line\r\n", "héllo ünïcode 漢字かな", "emoji 😀👩‍👩‍👧 🇩🇪", "e\u0301 combining ﬁ",
    "I'll you're it's DON'T", "a_b-c/d\\e {x: [1,2]}", "x = 12345 + 6", " leading", "trailing ", "a" + " " * 9 + "b\n\n\n\nc",
    "the blade and the whetstone, the angle and the pressure",
]
CORPUS = """
A whetstone does not make the steel; it finds the edge that was there all along. The first pass is coarse and loud, the
second is quiet, and the last is hardly more than a habit of the hand. Who hurries takes off too much, and who stops early
cuts tomatoes with a spoon. There are three things to watch: the angle, the pressure and the water. Of these the angle
matters most, since every stroke that leaves it undoes the stroke before. At 15 degrees a blade is keen and brittle.
def hone(blade, stone, strokes=120): return [stone.pass_over(blade, angle=17.5) for _ in range(strokes)]
""".strip().splitlines()
LONG = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.1, 1.3], "long_factor": [1.5, 2.5, 4.0]}
TOYS = {  # name: (GGUF's architecture, tokenizer: sentencepiece's with or without a space in front, or a folder and its pre, config, quantisations)
    "llama-spm": ("llama", True, dict(model_type="llama", num_key_value_heads=2), ["Q8_0", "Q4_0"]),
    "gemma2": ("gemma2", False, dict(model_type="gemma2", num_key_value_heads=2, head_dim=16, sliding_window=64, query_pre_attn_scalar=16,
                                     attn_logit_softcapping=40.0, final_logit_softcapping=20.0), ["Q5_0", "F16"]),
    "gemma3": ("gemma3", False, dict(model_type="gemma3_text", num_key_value_heads=1, head_dim=16, sliding_window=32, query_pre_attn_scalar=16), ["Q8_0"]),
    "phi3": ("phi3", True, dict(model_type="phi3", num_key_value_heads=2, sliding_window=64, original_max_position_embeddings=512), ["Q4_1", "Q8_0"]),
    "phi3-longrope": ("phi3", True, dict(model_type="phi3", num_key_value_heads=2, partial_rotary_factor=0.75, rope_parameters=LONG,
                                         original_max_position_embeddings=128), ["Q8_0"]),
    "olmo2": ("olmo2", ("llama3", "dbrx"), dict(model_type="olmo2", num_key_value_heads=2), ["Q8_0", "F16"]),
    "smollm3": ("smollm3", ("llama3", "llama-bpe"), dict(model_type="smollm3", num_key_value_heads=2), ["Q4_0"]),
    "gpt2": ("gpt2", ("smollm", "smollm"), dict(model_type="gpt2", n_inner=64, n_positions=512), ["Q8_0", "F16"]),
}
SHIFTED = ("gemma2", "gemma3")    # norms' weights are written as one more
PERMUTED = ("llama", "smollm3")   # rows of q and k are reordered
TRANSFORMERS = ("llama", "gemma2", "gemma3", "phi3", "gpt2")  # reads them with gguf_file=


def train(prefix):
    """A sentencepiece BPE tokenizer: Llama's settings with a space in front, Gemma's without and with runs of its own."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 3), model_writer=model, model_type="bpe", vocab_size=480, byte_fallback=True, num_threads=1,
        character_coverage=1.0, add_dummy_prefix=prefix, remove_extra_whitespaces=False, normalization_rule_name="identity",
        split_digits=True, minloglevel=2, pad_id=-1 if prefix else 3, control_symbols=[] if prefix else ["<start_of_turn>", "<end_of_turn>"],
        user_defined_symbols=[] if prefix else ["\n", "\n\n", "▁▁", "▁▁▁", "<table>"],
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def write_pieces(w, prefix):
    sp = train(prefix)
    tokens, scores, types = [], [], []
    for i in range(sp.get_piece_size()):
        piece, score, kind = sp.id_to_piece(i), sp.get_score(i), 1
        if sp.is_unknown(i):
            kind = 2
        elif sp.is_control(i):
            kind = 3
        elif sp.is_byte(i):
            kind = 6
        elif piece in ("\n", "\n\n", "▁▁", "▁▁▁", "<table>"):
            piece, score, kind = piece.replace("▁", " "), -1000.0, 4
        tokens.append(piece)
        scores.append(score)
        types.append(kind)
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list(tokens)
    w.add_token_scores(scores)
    w.add_token_types(types)
    w.add_bos_token_id(sp.bos_id())
    w.add_eos_token_id(sp.eos_id())
    w.add_unk_token_id(sp.unk_id())
    if sp.pad_id() >= 0:
        w.add_pad_token_id(sp.pad_id())
    w.add_add_bos_token(True)
    if not prefix:
        w.add_add_space_prefix(False)
    return len(tokens), lambda text: [sp.bos_id(), *sp.encode(text)]


def write_bytes(w, name, pre):
    folder = INTERNAL / "tokenizer" / "testdata" / name
    saved, auto = json.loads((folder / "tokenizer.json").read_text()), AutoTokenizer.from_pretrained(folder)
    ids = dict(saved["model"]["vocab"])
    special = {a["content"] for a in saved["added_tokens"] if a["special"]}
    tokens = sorted(ids, key=ids.get)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types([3 if t in special else 1 for t in tokens])
    w.add_token_merges([" ".join(m) for m in saved["model"]["merges"]])
    w.add_bos_token_id(auto.bos_token_id)
    w.add_eos_token_id(auto.eos_token_id)
    w.add_add_bos_token(auto("x").input_ids[0] == auto.bos_token_id)
    return len(tokens), lambda text: auto(text).input_ids


def write_metadata(w, architecture, c):
    w.add_block_count(2)
    w.add_context_length(512)
    w.add_embedding_length(32)
    w.add_feed_forward_length(64)
    w.add_head_count(4)
    if architecture == "gpt2":
        w.add_layer_norm_eps(c.layer_norm_epsilon)
        return
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    rope = c.rope_parameters
    if architecture == "gemma3":
        w.add_rope_freq_base(rope["full_attention"]["rope_theta"])
    elif architecture != "gemma2":
        w.add_rope_freq_base(rope["rope_theta"])
        w.add_rope_dimension_count(int(8 * rope.get("partial_rotary_factor", 1)))
    if architecture in SHIFTED:
        w.add_key_length(c.head_dim)
        w.add_value_length(c.head_dim)
    if getattr(c, "sliding_window", None):
        w.add_sliding_window(c.sliding_window)
    if architecture == "gemma2":
        w.add_attn_logit_softcapping(c.attn_logit_softcapping)
        w.add_final_logit_softcapping(c.final_logit_softcapping)
    if architecture == "phi3":
        w.add_rope_scaling_orig_ctx_len(c.original_max_position_embeddings)
        if rope["rope_type"] == "longrope":
            w.add_tensor("rope_factors_long.weight", np.array(rope["long_factor"], dtype=np.float32))
            w.add_tensor("rope_factors_short.weight", np.array(rope["short_factor"], dtype=np.float32))


def permute(v, heads):
    return v.reshape(heads, 2, v.shape[0] // heads // 2, *v.shape[1:]).swapaxes(1, 2).reshape(v.shape)


def unpermute(v, heads):
    return v.reshape(heads, v.shape[0] // heads // 2, 2, *v.shape[1:]).swapaxes(1, 2).reshape(v.shape)


def changed(architecture, config, key, v):
    """A tensor as the file has it, and what changes it back."""
    if architecture in SHIFTED and key.endswith("norm.weight"):
        return v + np.float32(1), lambda x: x - np.float32(1)
    if architecture in PERMUTED and (".q_proj." in key or ".k_proj." in key):
        heads = 4 if ".q_proj." in key else config.num_key_value_heads
        return permute(v, heads), lambda x: unpermute(x, heads)
    if architecture == "gpt2" and v.ndim == 2 and ".h." in key:
        return v.T, lambda x: x.T
    return v, lambda x: x


def write(name, architecture, tokenizer, fields, kinds):
    w = GGUFWriter(str(OUT / f"{name}.gguf"), architecture)
    rows, encode = write_pieces(w, tokenizer) if isinstance(tokenizer, bool) else write_bytes(w, *tokenizer)
    common = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, vocab_size=rows, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    if architecture != "gpt2":
        common |= dict(intermediate_size=64, max_position_embeddings=512)
    config = AutoConfig.for_model(**common, **fields)
    model = randomise(AutoModelForCausalLM.from_config(config), len(name))
    write_metadata(w, architecture, config)
    names = get_tensor_name_map({"llama": MODEL_ARCH.LLAMA, "gemma2": MODEL_ARCH.GEMMA2, "gemma3": MODEL_ARCH.GEMMA3, "phi3": MODEL_ARCH.PHI3,
                                 "olmo2": MODEL_ARCH.OLMO2, "smollm3": MODEL_ARCH.SMOLLM3, "gpt2": MODEL_ARCH.GPT2}[architecture], 2)
    sums, matrices = {}, 0
    for key, value in sorted(model.state_dict().items()):
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        v, back = changed(architecture, config, key, value.float().numpy())
        v = np.ascontiguousarray(v)
        place = names.get_name(key, try_suffixes=(".weight", ".bias"))
        kind = GGMLQuantizationType.F32
        if v.ndim == 2:
            kind = GGMLQuantizationType[kinds[matrices % len(kinds)]]
            matrices += 1
        if kind == GGMLQuantizationType.F32:
            w.add_tensor(place, v)
        elif kind == GGMLQuantizationType.F16:
            v = v.astype(np.float16)
            w.add_tensor(place, v)
        else:
            packed = quantize(v, kind)
            w.add_tensor(place, packed, raw_dtype=kind)
            v = dequantize(packed, kind)
        sums[key] = hashlib.sha256(np.ascontiguousarray(back(v.astype(np.float32))).tobytes()).hexdigest()
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    if architecture in TRANSFORMERS:
        read = AutoModelForCausalLM.from_pretrained(OUT, gguf_file=f"{name}.gguf", config=config, dtype=torch.float32)
        for key, v in read.state_dict().items():
            if key in sums:
                assert hashlib.sha256(v.contiguous().numpy().tobytes()).hexdigest() == sums[key], key
    (OUT / f"{name}.json").write_text(json.dumps({"tensors": sums, "ids": [[t, encode(t)] for t in TEXTS]}, ensure_ascii=False, indent=1) + "\n")
    print(name, (OUT / f"{name}.gguf").stat().st_size)


for name, toy in TOYS.items():
    write(name, *toy)
