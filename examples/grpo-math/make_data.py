"""Writes data/train.jsonl: sums and differences of numbers of two digits, with their answers. The same file every time.

usage: python3 make_data.py > data/train.jsonl
"""

import json
import random


def main() -> None:
    draw = random.Random(0)
    seen = set()
    while len(seen) < 400:
        a, b = draw.randint(10, 99), draw.randint(10, 99)
        sign = draw.choice("+-")
        if sign == "-" and a < b:
            a, b = b, a
        if (a, sign, b) in seen:
            continue
        seen.add((a, sign, b))
        answer = a + b if sign == "+" else a - b
        print(json.dumps({"prompt": f"What is {a} {sign} {b}?", "answer": str(answer)}))


if __name__ == "__main__":
    main()
