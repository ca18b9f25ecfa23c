"""Toy models of each architecture with their logits, gradients and greedy tokens, by transformers.

usage: models.py [NAME...]   all, or those of these names
                        writes internal/model/testdata/NAME/{config.json, model.safetensors, expected.json, expected.safetensors}
                        and internal/model/testdata/NAME/adapter-*/ (PEFT folders with their logits)

expected.safetensors    ids.N, logits.N       input of N tokens and its logits [N, vocab], f32
                        logits.bfloat16.N     the same with weights and compute in bfloat16, stored as f32
                        adapter-X/logits.N    inside the adapter's folder: the model with that adapter
expected.json           loss of one step on ids.33 (the first eight labels masked), and a line a parameter:
                        norm of its gradient, and the gradient's first values; greedy: the tokens that follow each input, up to 24 or the end token
"""

import json
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from common import INTERNAL, f32, metadata, randomise, save_adapter, versions, write_json

OUT = INTERNAL / "model" / "testdata"
LENGTHS = (1, 7, 33)
SMALL = dict(vocab_size=128, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             bos_token_id=1, eos_token_id=2, pad_token_id=2)

MODELS = {
    "llama-tied": dict(model_type="llama", num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=256,
                       rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, rms_norm_eps=1e-5),
    # Frequencies are scaled in three bands round original_max_position_embeddings; the long input reaches beyond it.
    "llama3-scaled": dict(model_type="llama", num_key_value_heads=2, tie_word_embeddings=False, max_position_embeddings=512,
                          attention_bias=False, mlp_bias=False, rms_norm_eps=1e-5, num_hidden_layers=3,
                          rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                                           "high_freq_factor": 4.0, "original_max_position_embeddings": 64}),
    "llama-wide-heads": dict(model_type="llama", num_key_value_heads=1, head_dim=16, tie_word_embeddings=True,
                             max_position_embeddings=256, rms_norm_eps=1e-6),
    "llama-biased": dict(model_type="llama", num_key_value_heads=4, tie_word_embeddings=False, attention_bias=True, mlp_bias=True,
                         max_position_embeddings=256, rms_norm_eps=1e-6),
    "qwen2": dict(model_type="qwen2", num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=256,
                  rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}, use_sliding_window=False, rms_norm_eps=1e-6),
    "qwen3": dict(model_type="qwen3", num_key_value_heads=2, head_dim=16, tie_word_embeddings=False, max_position_embeddings=256,
                  rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}, use_sliding_window=False, rms_norm_eps=1e-6),
    # Windows of 8 tokens: the inputs of 33, and what follows those of 7, reach beyond them.
    "qwen2-window": dict(model_type="qwen2", num_key_value_heads=4, tie_word_embeddings=True, max_position_embeddings=256,
                         use_sliding_window=True, sliding_window=8, max_window_layers=1),
    "mistral": dict(model_type="mistral", num_key_value_heads=2, tie_word_embeddings=False, max_position_embeddings=256, sliding_window=8),
    # Caps so low that scores and logits reach them.
    "gemma2": dict(model_type="gemma2", num_key_value_heads=2, head_dim=16, max_position_embeddings=256, sliding_window=8,
                   query_pre_attn_scalar=24, attn_logit_softcapping=3.0, final_logit_softcapping=5.0),
    "gemma3": dict(model_type="gemma3_text", num_key_value_heads=1, head_dim=16, max_position_embeddings=256, sliding_window=8,
                   query_pre_attn_scalar=24, num_hidden_layers=3, sliding_window_pattern=3),
    "phi3": dict(model_type="phi3", num_key_value_heads=2, max_position_embeddings=256, original_max_position_embeddings=256, sliding_window=8),
    # Short factors up to 40 tokens, long ones beyond: the input of 33 crosses over while it is continued. Part of a head turns.
    "phi3-longrope": dict(model_type="phi3", num_key_value_heads=4, max_position_embeddings=160, original_max_position_embeddings=40,
                          partial_rotary_factor=0.75,
                          rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0, 1.1, 1.3], "long_factor": [1.5, 2.5, 4.0]}),
    "olmo2": dict(model_type="olmo2", num_key_value_heads=2, max_position_embeddings=256, rope_parameters={"rope_type": "default", "rope_theta": 500000.0}),
    "smollm3": dict(model_type="smollm3", num_key_value_heads=2, max_position_embeddings=256, no_rope_layer_interval=2),
    "smollm3-window": dict(model_type="smollm3", num_key_value_heads=4, max_position_embeddings=256, no_rope_layers=[0, 1],
                           use_sliding_window=True, sliding_window=8, tie_word_embeddings=False, attention_bias=True, mlp_bias=True),
    "gpt2": dict(model_type="gpt2", n_positions=64, n_inner=48, scale_attn_by_inverse_layer_idx=True),
    # config.json ties the head to the embedding, the checkpoint holds another one: transformers 5 keeps them apart.
    "llama-contradicted": dict(model_type="llama", num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=256,
                               num_hidden_layers=1, rms_norm_eps=1e-6),
}
LONG = {"llama3-scaled": 150, "phi3-longrope": 60}  # a further input of this many tokens
BFLOAT16 = {"llama-tied", "qwen3", "gemma2", "gpt2"}  # logits in bfloat16 too
OLD_CONFIG = {"llama3-scaled", "qwen2", "gemma3", "phi3-longrope"}  # config.json as transformers 4 wrote it: rope_theta, rope_scaling, torch_dtype
CONTRADICTED = {"llama-contradicted"}
SHARDED = {"qwen2"}                 # weights in several files with an index

ADAPTERS = {
    "llama-tied": {
        "adapter-all": dict(r=4, lora_alpha=8, target_modules="all-linear"),
        "adapter-rslora": dict(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], use_rslora=True),
        "adapter-excluded": dict(r=2, lora_alpha=6, target_modules="all-linear", exclude_modules=["q_proj", "lm_head"]),
        "adapter-not": dict(r=2, lora_alpha=6, target_modules=["v_proj", "up_proj"], exclude_modules=r".*\.0\.self_attn.*"),
        "adapter-dora": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "o_proj", "gate_proj"], use_dora=True),
        "adapter-expression": dict(r=2, lora_alpha=6, target_modules=r".*\.1\..*\.(q|v|down)_proj"),
    },
    "gemma3": {"adapter-all": dict(r=4, lora_alpha=8, target_modules="all-linear")},
    "phi3": {
        "adapter-fused": dict(r=4, lora_alpha=8, target_modules=["qkv_proj", "gate_up_proj"]),
        "adapter-all": dict(r=2, lora_alpha=8, target_modules="all-linear"),
    },
    "gpt2": {
        "adapter-all": dict(r=4, lora_alpha=8, target_modules="all-linear"),
        "adapter-attention": dict(r=4, lora_alpha=8, target_modules=["c_attn"], fan_in_fan_out=True),
        "adapter-dora": dict(r=4, lora_alpha=8, target_modules="all-linear", use_dora=True),
    },
    "qwen3": {
        # Ranks and scales that differ by module, as PEFT's patterns give them.
        "adapter-pattern": dict(r=4, lora_alpha=4, target_modules=["q_proj", "o_proj", "down_proj"],
                                rank_pattern={"down_proj": 2}, alpha_pattern={"layers.1.self_attn.q_proj": 12}),
    },
}


def inputs(name, vocabulary):
    generator = torch.Generator().manual_seed(7)
    lengths = LENGTHS + ((LONG[name],) if name in LONG else ())
    return {n: torch.randint(3, vocabulary, (1, n), generator=generator) for n in lengths}


def logits(model, ids):
    with torch.no_grad():
        return model(ids, use_cache=False).logits[0].float().contiguous()


def step(model, ids):
    """Loss and gradients of one step in f32: the mean over the labels that are not masked, shifted by one."""
    labels = ids.clone()
    labels[:, :8] = -100
    model.zero_grad()
    loss = model(ids, labels=labels, use_cache=False).loss
    loss.backward()
    gradients = {}
    for name, parameter in model.named_parameters():
        flat = parameter.grad.flatten()
        gradients[name] = {"norm": f32(flat.norm()), "first": [f32(x) for x in flat[:4]], "sum": f32(flat.double().sum())}
    return f32(loss.detach()), gradients


def as_transformers_4(config):
    rope = config.pop("rope_parameters")
    if "sliding_attention" in rope:
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        config["sliding_window_pattern"] = config.pop("layer_types").index("full_attention") + 1
        rope = rope["full_attention"]
    config["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if rope["rope_type"] == "longrope":
        rope = {"type": "longrope", "short_factor": rope["short_factor"], "long_factor": rope["long_factor"]}
    config["rope_scaling"] = None if rope.get("rope_type") == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    return config


def adapters(name, folder, base, by_length):
    from peft import LoraConfig, PeftModel, get_peft_model

    for i, (adapter, settings) in enumerate(ADAPTERS.get(name, {}).items()):
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), LoraConfig(task_type="CAUSAL_LM", **settings))
        generator = torch.Generator().manual_seed(100 + i)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if "lora_" in key:  # B starts at zero: an adapter that changes nothing shows nothing
                    parameter.normal_(1.0 if "magnitude" in key else 0.0, 0.2, generator=generator)
        save_adapter(model, folder / adapter)
        loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), folder / adapter).eval()
        found = {f"logits.{n}": logits(loaded, ids) for n, ids in by_length.items()}
        assert all((found[f"logits.{n}"] - base[f"logits.{n}"]).abs().max() > 0.1 for n in by_length)
        save_file(found, folder / adapter / "expected.safetensors", metadata=metadata("peft"))


def make(name, settings, seed):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fields = {**SMALL, **settings}
    if "n_inner" in fields:
        del fields["intermediate_size"]
    config = AutoConfig.for_model(**fields)
    model = randomise(AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval(), seed)
    model.save_pretrained(folder, **({"max_shard_size": "40KB"} if name in SHARDED else {}))
    if name in CONTRADICTED:
        tensors = load_file(folder / "model.safetensors")
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].flip(0).contiguous()
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if name in OLD_CONFIG:
        path = folder / "config.json"
        path.write_text(json.dumps(as_transformers_4(json.loads(path.read_text())), indent=2) + "\n")

    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()  # as a reader finds it
    by_length = inputs(name, config.vocab_size)
    expected = {}
    for n, ids in by_length.items():
        expected[f"ids.{n}"] = ids[0].contiguous()
        expected[f"logits.{n}"] = logits(model, ids)
    assert all(value.abs().max() > 1 for key, value in expected.items() if key.startswith("logits"))
    loss, gradients = step(model, by_length[33])
    greedy = {}
    for n, ids in by_length.items():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False,
                             output_logits=True, return_dict_in_generate=True)
        best = torch.stack(out.logits)[:, 0].topk(2).values
        if (best[:, 0] - best[:, 1]).min() <= 1e-3:  # a choice too close to hold on another machine
            return False
        greedy[str(n)] = out.sequences[0, n:].tolist()
    adapters(name, folder, expected, by_length)
    if name in BFLOAT16:
        half = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="eager").eval()
        for n, ids in by_length.items():
            expected[f"logits.bfloat16.{n}"] = logits(half, ids)
    save_file(expected, folder / "expected.safetensors", metadata=metadata())
    write_json(folder / "expected.json", {"versions": versions("peft"), "loss": loss, "greedy": greedy, "gradients": gradients})
    return True


if __name__ == "__main__":
    for seed, (name, settings) in enumerate(MODELS.items()):
        if not sys.argv[1:] or name in sys.argv[1:]:
            while not make(name, settings, seed):
                seed += 100
