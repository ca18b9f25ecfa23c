"""Ids and greedy tokens of Gemma 3 270M, quantised as GGUF: a real sentencepiece tokenizer, windows and two rotations.

usage: gemma3.py FILE.gguf      (build/gemma3 prints where it is)        writes internal/sample/testdata/gemma3.json

texts     text and ids: sentencepiece's own, from a model rebuilt of the file's pieces, scores and types
prompts   ids (bos, then sentencepiece's), what transformers answers from the same file with gguf_file= in float32, 24 tokens each, and
          the smallest gap between the best two scores on the way; one prompt is longer than the window of 512
"""

import pathlib
import sys

import sentencepiece
import torch
from gguf import GGUFReader
from sentencepiece import sentencepiece_model_pb2
from transformers import AutoModelForCausalLM

from common import INTERNAL, ROOT, f32, versions, write_json

TEXTS = [
    "Hello world", "two  spaces   three\t tab\n\nnew line\r\n", "héllo ünïcode 漢字かな", "emoji 😀👩‍👩‍👧 🇩🇪", "e\u0301 combining ﬁ",
    "I'll you're it's DON'T", "a_b-c/d\\e {x: [1,2]}", "x = 12345 + 6", " leading", "trailing ", "a" + " " * 40 + "b" + "\n" * 7 + "c",
    "def f(x):\n    return x\n\n\n\tpass", "<table><tr><td>", "<0x41>",
]
PROMPTS = ["The capital of France is", "Once upon a time", "def fibonacci(n):\n", "1, 2, 3, 4,"]


def rebuild(path):
    fields = GGUFReader(path).fields
    read = lambda key: fields["tokenizer.ggml." + key].contents()
    m = sentencepiece_model_pb2.ModelProto()
    for token, score, kind in zip(read("tokens"), read("scores"), read("token_type"), strict=True):
        piece = m.pieces.add()
        piece.piece, piece.score, piece.type = token.replace(" ", "▁") if kind == 4 else token, score, 2 if token == "<unk>" else kind
    m.trainer_spec.model_type, m.trainer_spec.byte_fallback = 2, True
    m.trainer_spec.pad_id, m.trainer_spec.eos_id, m.trainer_spec.bos_id, m.trainer_spec.unk_id = 0, 1, 2, 3
    m.normalizer_spec.name, m.normalizer_spec.add_dummy_prefix, m.normalizer_spec.remove_extra_whitespaces = "identity", False, False
    return sentencepiece.SentencePieceProcessor(model_proto=m.SerializeToString())


path = pathlib.Path(sys.argv[1])
sp = rebuild(path)
model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
torch.set_num_threads(2)
story = (ROOT / "bench" / "golden" / "common.py").read_text()[:400] + "\n" + "The quick brown fox jumps over the lazy dog. " * 55 + "The quick brown"
prompts = []
for text in PROMPTS + [story]:
    ids = torch.tensor([[2, *sp.encode(text)]])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False, output_logits=True, return_dict_in_generate=True)
    best = torch.stack(out.logits)[:, 0].topk(2).values
    prompts.append({"prompt": ids[0].tolist(), "completion": out.sequences[0, ids.shape[1]:].tolist(), "margin": f32((best[:, 0] - best[:, 1]).min())})
    print(ids.shape[1], prompts[-1]["margin"], repr(sp.decode(prompts[-1]["completion"])))
write_json(INTERNAL / "sample" / "testdata" / "gemma3.json", {
    "versions": versions("gguf", "sentencepiece"), "texts": [{"text": t, "ids": sp.encode(t)} for t in TEXTS], "prompts": prompts})
