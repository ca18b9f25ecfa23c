"""What a toy model answers by transformers' generate(do_sample=False): for `hone generate`.

usage: speak.py     reads internal/train/testdata/toy, writes cmd/hone/testdata/speak.json

cases: flags of hone generate, and the tokens, the text and the number of prompt tokens that they give
"""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import INTERNAL, versions, write_json

TOY = INTERNAL / "train" / "testdata" / "toy"
CASES = [  # flags of hone, messages, arguments of generate
    (["-p", "What is 1 + 1?"], [("user", "What is 1 + 1?")], {}),
    (["-p", "Ça va ? ☕"], [("user", "Ça va ? ☕")], {}),
    (["-p", "Hello.", "--system", "Be brief."], [("system", "Be brief."), ("user", "Hello.")], {}),
    (["-p", "Hello.", "--max-new-tokens", "7"], [("user", "Hello.")], {"max_new_tokens": 7}),
    (["-p", "Hello.", "--repetition-penalty", "1.3"], [("user", "Hello.")], {"repetition_penalty": 1.3}),
    (["-p", "Hello.", "--ignore-eos"], [("user", "Hello.")], {"eos_token_id": None}),
]


def main():
    tokenizer = AutoTokenizer.from_pretrained(TOY)
    model = AutoModelForCausalLM.from_pretrained(TOY, dtype=torch.float32).eval()
    cases = []
    for flags, messages, arguments in CASES:
        ids = tokenizer.apply_chat_template([{"role": r, "content": c} for r, c in messages], add_generation_prompt=True,
                                            enable_thinking=False, return_tensors="pt", return_dict=True)
        if "eos_token_id" in arguments:
            model.generation_config.eos_token_id = None
        out = model.generate(**ids, **{"max_new_tokens": 100, "do_sample": False, "pad_token_id": 2, **arguments})
        n = ids["input_ids"].shape[1]
        tokens = out[0, n:].tolist()
        cases.append({"flags": flags, "prompt_tokens": n, "tokens": tokens, "text": tokenizer.decode(tokens, skip_special_tokens=True).strip()})
    write_json(INTERNAL.parent / "cmd" / "hone" / "testdata" / "speak.json", {"versions": versions(), "cases": cases})
    print([len(c["tokens"]) for c in cases])


if __name__ == "__main__":
    main()
