"""Writes tokenizer/: a byte-level BPE of 512 entries over data/text.txt, as Hugging Face's tokenizers saves it.

usage: python3 make_tokenizer.py     (pip install tokenizers==0.23.3)
"""

import json
import pathlib

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def main() -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=SPECIAL, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    lines = (HERE / "data/text.txt").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["messages"] for line in (HERE / "data/train.jsonl").open(encoding="utf-8")]
    roles = ["user\n", "assistant\n", "system\n"]
    tokenizer.train_from_iterator(lines + [turn["content"] for turns in questions for turn in turns] + roles, trainer)
    (HERE / "tokenizer").mkdir(exist_ok=True)
    tokenizer.save(str(HERE / "tokenizer/tokenizer.json"), pretty=False)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "clean_up_tokenization_spaces": False}
    (HERE / "tokenizer/tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
