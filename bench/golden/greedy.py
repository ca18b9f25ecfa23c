"""Greedy tokens of SmolLM2-135M-Instruct, and what transformers' logits processors make of random scores.

usage: greedy.py MODEL      MODEL: SmolLM2-135M-Instruct as a Hugging Face folder in float32 (hone's own model.load of the GGUF, say)
                            writes internal/sample/testdata/greedy.json and internal/sample/testdata/processors.json

greedy.json      prompts: user text, ids with the generation prompt, and the ids that follow: 64, or fewer up to an end token;
                 margin: the smallest gap between the best two scores on the way, so that a close call can be told from a bug
processors.json  cases: settings, ids so far, scores, and the distribution after processing, in transformers' own order
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig

from common import INTERNAL, f32, versions, write_json

OUT = INTERNAL / "sample" / "testdata"
PROMPTS = [
    "What is the capital of France?", "Write three sentences about the sea.", "Explain gravity to a child.", "List five fruits.",
    "Translate 'good morning' to Spanish.", "What is 17 + 25?", "Write a haiku about autumn.", "Who wrote Hamlet?",
    "Give me a recipe for pancakes.", "Why is the sky blue?", "Write a Python function that adds two numbers.",
    "Summarise the story of Cinderella in two sentences.", "What are the primary colours?", "Name three planets.",
    "How do I boil an egg?", "What does a compiler do?", "Tell me a joke about cats.", "Écris une phrase sur Paris. ☕",
    "Convert 3 hours to minutes.", "Describe the taste of a lemon.",
]
SETTINGS = [
    dict(temperature=0.7), dict(temperature=1.8), dict(top_k=5), dict(top_k=1), dict(top_k=500), dict(top_p=0.9), dict(top_p=0.05),
    dict(min_p=0.1), dict(min_p=0.9), dict(repetition_penalty=1.3), dict(repetition_penalty=0.8),
    dict(temperature=0.6, top_k=20, top_p=0.95), dict(temperature=1.4, top_k=30, top_p=0.8, min_p=0.05),
    dict(temperature=0.5, top_p=0.7, min_p=0.2, repetition_penalty=1.2),
]


def greedy(path):
    tok = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    torch.set_num_threads(2)
    prompts = []
    for text in PROMPTS:
        ids = tok.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True)
        out = model.generate(**ids, max_new_tokens=64, do_sample=False, output_logits=True, return_dict_in_generate=True)
        best = torch.stack(out.logits)[:, 0].topk(2).values
        n = ids["input_ids"].shape[1]
        completion = out.sequences[0, n:].tolist()
        prompts.append({"text": text, "prompt": ids["input_ids"][0].tolist(), "completion": completion,
                        "decoded": tok.decode(completion, skip_special_tokens=True), "margin": f32((best[:, 0] - best[:, 1]).min())})
    write_json(OUT / "greedy.json", {"versions": versions(), "model": "SmolLM2-135M-Instruct", "dtype": "float32", "prompts": prompts})
    print("smallest margin", min(p["margin"] for p in prompts))


def process(settings, ids, scores):
    """The distribution of scores [1, vocab] after ids [1, n], through generate's own list: the order is transformers', not ours."""
    shell = AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=scores.shape[1], hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                                         num_attention_heads=1, num_key_value_heads=1))
    config = GenerationConfig(do_sample=True, **{"top_k": 0, "top_p": 1.0, "temperature": 1.0, **settings})
    config._eos_token_tensor = None
    apply = shell._get_logits_processor(config, input_ids_seq_length=ids.shape[1], encoder_input_ids=ids)
    distribution = torch.softmax(apply(ids, scores.clone()), -1)
    return {"settings": settings, "ids": ids[0].tolist(), "scores": [f32(x) for x in scores[0]], "distribution": [f32(x) for x in distribution[0]]}


def processors():
    generator = torch.Generator().manual_seed(5)
    cases = []
    for settings in SETTINGS:
        for scale in (1.0, 4.0):
            scores = torch.randn(1, 64, generator=generator) * scale
            cases.append(process(settings, torch.randint(0, 64, (1, 12), generator=generator), scores))
    ties = torch.tensor([[2.0, 1.0, 1.0, 1.0, 0.0, -1.0]])  # equal scores at the edge of what is kept
    cases += [process(settings, torch.tensor([[0]]), ties) for settings in (dict(top_k=2), dict(top_p=0.6), dict(min_p=0.36))]
    write_json(OUT / "processors.json", {"versions": versions(), "cases": cases})
    kept = [sum(p > 0 for p in case["distribution"]) for case in cases]
    print("tokens kept", kept)


if __name__ == "__main__":
    processors()
    greedy(sys.argv[1])
