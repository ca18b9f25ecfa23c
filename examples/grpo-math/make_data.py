"""Writes data/train.jsonl: sums and differences of numbers up to 20, each with its answer. The same file every time.

usage: python3 make_data.py > data/train.jsonl
"""

import json
import random


def main() -> None:
    draw = random.Random(0)
    seen = set()
    while len(seen) < 400:
        a, b, sign = draw.randint(1, 20), draw.randint(1, 20), draw.choice("+-")
        if sign == "-":
            a, b = max(a, b), min(a, b)
        if (a, sign, b) in seen:
            continue
        seen.add((a, sign, b))
        question = {"role": "user", "content": f"What is {a} {sign} {b}?"}
        answer = str(a + b if sign == "+" else a - b)
        print(json.dumps({"messages": [question, {"role": "assistant", "content": answer}]}))


if __name__ == "__main__":
    main()
