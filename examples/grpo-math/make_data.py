"""Writes data/train.jsonl: sums and differences of numbers up to 20, each with its answer. The same file every time.

usage: python3 make_data.py > data/train.jsonl
"""

import json
import random


def main() -> None:
    draw = random.Random(0)
    sums = [(a, "+", b) for a in range(1, 21) for b in range(1, 21)]
    differences = [(a, "-", b) for a in range(1, 21) for b in range(1, a + 1)]
    questions = sums + differences
    draw.shuffle(questions)
    for a, sign, b in questions[:600]:
        question = {"role": "user", "content": f"What is {a} {sign} {b}?"}
        answer = str(a + b if sign == "+" else a - b)
        print(json.dumps({"messages": [question, {"role": "assistant", "content": answer}]}))


if __name__ == "__main__":
    main()
