"""The rows that the SFT goldens train on, and the toy tokenizer and model that read them.

usage: rows.py          writes internal/train/testdata/{messages,turns,completions,texts,unseen}.jsonl
                        and internal/train/testdata/toy/ (a Hugging Face folder)

Rows are small arithmetic and spelling tasks, so that a toy model's loss falls within a dozen steps.
"""

import json
import random
import shutil

import tokenizers
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from common import INTERNAL, randomise

OUT = INTERNAL / "train" / "testdata"
NAMES = ["Ada", "Bo", "Chen", "Dina", "Eli", "Fay"]
THINGS = ["apples", "books", "coins", "pens"]
WORDS = ["river", "stone", "cloud", "maple", "lantern", "orchid", "pebble", "harbour"]

# Markers say which tokens are trained: an answer and its end, not the newline after it.
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'assistant' %}"
    "<|im_start|>assistant\n{% generation %}{{ message.content }}<|im_end|>{% endgeneration %}{{ '\\n' }}"
    "{% else %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def task(r):
    """A question and its answer."""
    kind = r.randrange(3)
    if kind == 0:
        who, what, a, b = r.choice(NAMES), r.choice(THINGS), r.randint(2, 9), r.randint(2, 9)
        return f"{who} has {a} {what} and buys {b} more. How many {what}?", f"{a} + {b} = {a + b} {what}."
    if kind == 1:
        word = r.choice(WORDS)
        return f"Spell {word}.", "-".join(word.upper()) + "."
    a, b = r.randint(2, 9), r.randint(2, 9)
    return f"Which is larger, {a} or {a + b}?", f"{a + b} is larger than {a}, by {b}. É così."


def turns(r, pairs, system):
    out = [{"role": "system", "content": "Answer in one line."}] if system else []
    for _ in range(pairs):
        question, answer = task(r)
        out += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return out


def rows():
    r = random.Random(11)
    made = {
        "messages": [{"messages": turns(r, 1, i % 3 == 0)} for i in range(40)],
        "turns": [{"messages": turns(r, 1 + i % 3, i % 4 == 0)} for i in range(24)],
        "unseen": [{"messages": turns(r, 1, False)} for _ in range(10)],
    }
    made["completions"] = [{"prompt": m[:-1], "completion": m[-1:]} for m in (turns(r, 1 + i % 2, i % 3 == 0) for i in range(24))]
    made["texts"] = [{"prompt": f"Q: {q}\nA:", "completion": f" {a}"} for q, a in (task(r) for _ in range(24))]
    return made


def tokenizer(texts):
    """Byte-level BPE of 384 tokens, trained on the rows themselves."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    model.decoder = tokenizers.decoders.ByteLevel()
    model.train_from_iterator(texts, tokenizers.trainers.BpeTrainer(
        vocab_size=384, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    fast = PreTrainedTokenizerFast(tokenizer_object=model, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|endoftext|>",
                                   model_max_length=512)
    fast.chat_template = TEMPLATE
    return fast


def main():
    shutil.rmtree(OUT / "toy", ignore_errors=True)
    (OUT / "toy").mkdir(parents=True)
    made = rows()
    texts = []
    for name, items in made.items():
        lines = [json.dumps(item, ensure_ascii=False) for item in items]
        (OUT / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        texts += [m["content"] for item in items for m in item.get("messages", [])]
    tok = tokenizer(texts)
    tok.save_pretrained(OUT / "toy")
    config = AutoConfig.for_model("llama", vocab_size=len(tok), hidden_size=48, intermediate_size=96, num_hidden_layers=2,
                                  num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=512,
                                  rms_norm_eps=1e-5, bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id,
                                  pad_token_id=tok.pad_token_id)
    model = randomise(AutoModelForCausalLM.from_config(config), 3)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(0.3)  # tied: the first loss is then near that of a uniform guess
    model.save_pretrained(OUT / "toy")


if __name__ == "__main__":
    main()
