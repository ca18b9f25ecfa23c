"""Made up rows in out/data: make_data.py rows|pairs|prompts."""

import json
import random
import sys

WORDS = "the farm has seven brown cows and a red barn where two small dogs sleep until noon".split()
chance = random.Random(1)


def words(least, most):
    return " ".join(chance.choice(WORDS) for _ in range(chance.randint(least, most)))


def turn(role, least, most):
    return {"role": role, "content": words(least, most)}


def row(kind):
    question = turn("user", 20, 20)
    if kind == "rows":
        return {"messages": [question, turn("assistant", 100, 250)]}
    if kind == "pairs":
        return {"prompt": [question], "chosen": [turn("assistant", 60, 150)], "rejected": [turn("assistant", 60, 150)]}
    return {"prompt": [question], "word": "cows"}


kind = sys.argv[1]
with open(f"out/data/{kind}.jsonl", "w") as f:
    for _ in range({"rows": 2000, "pairs": 1000, "prompts": 256}[kind]):
        f.write(json.dumps(row(kind)) + "\n")
