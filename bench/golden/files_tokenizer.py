"""Makes internal/tokenizer/testdata: small tokenizers of each kind in use, and what AutoTokenizer (transformers 5.23)
gives on them: ids, byte offsets and decoded text. Their vocabularies are learnt from the texts below; the toys of
files_gguf.py are made from them, so run that after this."""

import collections
import json
import math
import pathlib
import shutil

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

out = pathlib.Path(__file__).parents[2] / "internal" / "tokenizer" / "testdata"
texts = [
    "Hello world", " leading and trailing ", "two  spaces   three\t tab\n\nnew line\r\n", "numbers 12345 3.14 1 2 3 x  7",
    "héllo ünïcode 漢字かな 한국어", "emoji 😀👩‍👩‍👧 🇩🇪", "e\u0301 combining, ﬁ ligature, ½ ² ٣", "I'll you're it's DON'T",
    "a_b-c/d\\e {x: [1,2]} <tag>", "def f(x):\n    return x**2 # 100%\n", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>a<|im_end|> b <|extra|> c<tool>d</tool> e", "   ", "\n", "", "x", "</s><s> text </s>", "don 't stop ! , . ?",
    "\u200bzero width\u00a0nbsp\u3000ideographic",
]
corpus = texts * 3 + """
A whetstone does not make the steel; it finds the edge that was there all along. The first pass is coarse and loud, the
second is quiet, and the last is hardly more than a habit of the hand. Who hurries takes off too much, and who stops early
cuts tomatoes with a spoon. There are three things to watch: the angle, the pressure and the water. Of these the angle
matters most, since every stroke that leaves it undoes the stroke before. At 15 degrees a blade is keen and brittle, at
25 it is dull but forgiving, and somewhere between the two is the knife that its owner would have asked for.
def hone(blade, stone, strokes=120): return [stone.pass_over(blade, angle=17.5) for _ in range(strokes)]
""".splitlines()
chatml = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
split = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
alphabet = pre_tokenizers.ByteLevel.alphabet()


# The library's trainers break ties by the order of a hash map, but for byte-level BPE with its fixed alphabet: what else is
# needed is learnt here, so that the same values come out each time.
words = collections.Counter(w for line in corpus for w in line.split())


def common(counter, n):
    return [x for x, _ in sorted(counter.items(), key=lambda kv: (-kv[1], kv[0]))[:n]]


letters = sorted(common(collections.Counter(c for line in corpus for c in line if not c.isspace()), 60))


def learn_merges(n):
    """Byte-pair encoding (Sennrich et al. 2016) over words that begin with ▁."""
    parts = {("▁", *w): c for w, c in words.items() if set(w) <= set(letters)}
    merges = []
    for _ in range(n):
        pairs = collections.Counter()
        for word, c in parts.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += c
        best = common(pairs, 1)[0]
        merges.append(best)
        joined = {}
        for word, c in parts.items():
            out = []
            for piece in word:
                if out and (out[-1], piece) == best:
                    out[-1] += piece
                else:
                    out.append(piece)
            joined[tuple(out)] = c
        parts = joined
    return merges


def byte_level(pre, special, size, **model):
    t = Tokenizer(models.BPE(**model))
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False)
    )
    return t


def regex(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


def smollm():
    pre = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t = byte_level(pre, chatml, 400)
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    t.enable_truncation(4)  # a saved setting that must not cut
    t.enable_padding(length=8)
    return t, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>"}


def llama3():
    t = byte_level(regex(split % "{1,3}"), ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], 380, ignore_merges=True)
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]),
    ])
    return t, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}


def qwen2():
    """Tokens that only tokenizer_config.json lists, one of them not special, one with white space stripped."""
    t = byte_level(regex(split % ""), chatml, 380)
    t.normalizer = normalizers.NFC()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    listed = {str(i): {"content": c, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True} for i, c in enumerate(chatml)}
    extra = {"lstrip": True, "normalized": False, "rstrip": True, "single_word": False, "special": True}
    listed["380"] = {"content": "<|extra|>", **extra}
    listed["381"] = {"content": "<tool>", **extra, "lstrip": False, "rstrip": False, "special": False}
    return t, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "added_tokens_decoder": listed, "additional_special_tokens": ["<|im_start|>", "</tool>"]}


def llama2():
    """sentencepiece's BPE, as Llama 2 and Mistral have it: a space before the first word, bytes as tokens."""
    merges = learn_merges(140)
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + ["".join(m) for m in merges] + ["▁", *letters]
    vocab = {}
    for i, p in enumerate(pieces):
        vocab.setdefault(p, i)  # the ids of pieces that come twice stay free: real vocabularies have such holes too
    t = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.add_special_tokens(["<unk>", "<s>"])  # </s> is in the vocabulary alone: transformers adds it by its role
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return t, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": False, "clean_up_tokenization_spaces": True}


def unigram():
    scores = [(p, 0.0) for p in ["<unk>", "<s>", "</s>"]] + [("▁", -5.0)]
    scores += [("▁" + w, math.log(words[w] / words.total())) for w in common(words, 80)] + [(c, -8.0) for c in letters]
    t = Tokenizer(models.Unigram(scores, unk_id=0))
    t.normalizer = normalizers.NFKC()
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    return t, {"special_tokens_map": {"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}, "unk_token": "<unk>"}}


def wordpiece():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    whole = common(collections.Counter({w.lower(): 1 for w in words}), 80)
    pieces = dict.fromkeys(special + letters + ["##" + c for c in letters] + whole)
    t = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.add_special_tokens(special)
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return t, {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "clean_up_tokenization_spaces": False}


def literal():
    """Special tokens in a text are text."""
    t, config = smollm()
    return t, {**config, "split_special_tokens": True}


stops = {  # generation_config.json and config.json
    "smollm": ({"eos_token_id": 2}, {}), "llama3": ({"eos_token_id": [1, 2, 1]}, {"eos_token_id": 1}), "qwen2": (None, {"eos_token_id": [2, 0]}),
    "llama2": (None, None), "unigram": ({}, {"eos_token_id": None}), "wordpiece": (None, None),
    "literal": (None, None),
}
for make in [smollm, llama3, qwen2, llama2, unigram, wordpiece, literal]:
    name = make.__name__
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    t, config = make()
    (folder / "tokenizer.json").write_text(json.dumps(json.loads(t.to_str()), ensure_ascii=False) + "\n")
    special = config.pop("special_tokens_map", None)
    if special:
        (folder / "special_tokens_map.json").write_text(json.dumps(special) + "\n")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
    for file, content in zip(["generation_config.json", "config.json"], stops[name]):
        if content is not None:
            (folder / file).write_text(json.dumps(content) + "\n")

    auto = AutoTokenizer.from_pretrained(folder)
    cases = []
    for text in texts:
        for special in [False, True]:
            e = auto(text, add_special_tokens=special, return_offsets_mapping=True)
            at = [len(text[:i].encode()) for i in range(len(text) + 1)]
            cases.append({
                "text": text, "special": special, "ids": e["input_ids"], "offsets": [[at[a], at[b]] for a, b in e["offset_mapping"]],
                "decoded": auto.decode(e["input_ids"]), "plain": auto.decode(e["input_ids"], skip_special_tokens=True),
            })
    role = lambda r: [getattr(auto, r + "_token") or "", -1 if getattr(auto, r + "_token_id") is None else getattr(auto, r + "_token_id")]
    golden = {"size": len(auto), "bos": role("bos"), "eos": role("eos"), "pad": role("pad"), "unk": role("unk"), "cases": cases}
    (folder / "expected.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")
