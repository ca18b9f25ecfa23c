"""Ids and masks that TRL makes of rows: internal/chat/testdata/masks.json.

usage: templates_masks.py

A toy byte-level tokenizer reads the rows, and each case keeps the encodings that it made (text → ids, bytes), so that
a test needs no tokenizer. The rules are those of SFTTrainer's tokenize_fn and build_labels, with TRL's own functions.
"""

import json

from common import INTERNAL, versions

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from trl.chat_template_utils import has_generation_markers
from trl.data_utils import _tokenize, common_prefix_length, is_conversational

from templates_conversations import CONVERSATIONS

OUT = INTERNAL / "chat" / "testdata"
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end|>", "<|user|>", "<|assistant|>"]
TEMPLATES = ["qwen2_5_training", "qwen3_training", "llama3_training", "phi3_training", "qwen2_5"]


def toy():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    texts = [json.dumps(c["messages"], ensure_ascii=False) for c in CONVERSATIONS]
    t.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", t.token_to_id("<s>"))])
    return PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>", pad_token="</s>")


class Recorder:
    """The tokenizer, keeping what it was asked."""

    def __init__(self, tokenizer):
        self.tokenizer, self.seen = tokenizer, {}

    def keep(self, text, special):
        e = self.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
        bytes_before = [0]
        for c in text:
            bytes_before.append(bytes_before[-1] + len(c.encode()))
        self.seen[(text, special)] = [e["input_ids"], [[bytes_before[a], bytes_before[b]] for a, b in e["offset_mapping"]]]


def encode(r, row, template, assistant_only):
    """tokenize_fn and build_labels of SFTTrainer, for rows with default completion_only_loss."""
    tokenizer = r.tokenizer
    if "text" in row or ("prompt" in row and not is_conversational(row)):
        field = "text" if "text" in row else "completion"
        row = dict(row)
        if not row[field].endswith(tokenizer.eos_token):
            row[field] += tokenizer.eos_token
    kwargs = {"chat_template": template, "tools": row.get("tools")}
    render = lambda messages, **more: r.keep(tokenizer.apply_chat_template(messages, tokenize=False, **kwargs, **more), False)  # noqa: E731
    masks = []
    if "prompt" in row:
        if is_conversational(row):
            whole = row["prompt"] + row["completion"]
            render(row["prompt"], add_generation_prompt=True)
            render(whole)
            prompt = _tokenize(tokenizer, row["prompt"], add_generation_prompt=True, **kwargs)["input_ids"]
            out = _tokenize(tokenizer, whole, return_assistant_tokens_mask=assistant_only, **kwargs)
        else:
            r.keep(row["prompt"], True)
            r.keep(row["prompt"] + row["completion"], True)
            prompt = _tokenize(tokenizer, row["prompt"])["input_ids"]
            out = _tokenize(tokenizer, row["prompt"] + row["completion"])
        ids = out["input_ids"]
        n = common_prefix_length(prompt, ids)
        masks.append([0] * n + [1] * (len(ids) - n))
    elif "messages" in row:
        render(row["messages"])
        out = _tokenize(tokenizer, row["messages"], return_assistant_tokens_mask=assistant_only, **kwargs)
    else:
        r.keep(row["text"], True)
        out = _tokenize(tokenizer, row["text"])
    if assistant_only:
        masks.append(out["assistant_masks"])
    ids = out["input_ids"]
    return ids, [int(all(bits)) for bits in zip(*masks)] if masks else [1] * len(ids)


def rows():
    named = {c["name"]: c for c in CONVERSATIONS}
    for name in ("one turn", "system", "multi", "unicode", "blanks", "quotes", "call", "thinking"):
        c = named[name]
        row = {"messages": c["messages"], **({"tools": c["tools"]} if "tools" in c else {})}
        yield name, row, (True, False)
        yield name + ", completion", {"prompt": c["messages"][:-1], "completion": c["messages"][-1:], **{k: v for k, v in row.items() if k == "tools"}}, (True, False)
    yield "text", {"text": "Plain text, é."}, (False,)
    yield "text with eos", {"text": "Ended.</s>"}, (False,)
    yield "text prompt", {"prompt": "2 + 2 = ", "completion": "4"}, (False,)
    yield "text merges", {"prompt": "ass", "completion": "istant</s>"}, (False,)


def main():
    tokenizer = toy()
    cases = []
    for name in TEMPLATES:
        template = (OUT / "trl" / f"{name}.jinja").read_text()
        for title, row, options in rows():
            if "messages" not in row and "text" in row and name != TEMPLATES[0]:
                continue
            for assistant_only in options:
                if assistant_only and not has_generation_markers(template):
                    continue
                r = Recorder(tokenizer)
                ids, mask = encode(r, row, template, assistant_only)
                cases.append({
                    "template": f"{name}.jinja", "name": title, "row": row, "loss": "assistant" if assistant_only else "",
                    "encodings": [[text, special, *e] for (text, special), e in r.seen.items()],
                    "ids": ids, "mask": "".join(map(str, mask)),
                })
    value = {"versions": versions("transformers", "trl"), "special": SPECIAL, "cases": cases}
    (OUT / "masks.json").write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace('{"template"', '\n{"template"') + "\n")


main()
