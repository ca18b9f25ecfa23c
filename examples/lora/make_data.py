"""Writes data/train.jsonl: sentences about people, each with its facts as JSON. The same file every time.

usage: python3 make_data.py > data/train.jsonl
"""

import json
import random

NAMES = ["Ada", "Ben", "Chen", "Dina", "Eli", "Fay", "Gus", "Hana", "Ivo", "June", "Kai", "Lea", "Max", "Nora", "Otto", "Pia"]
CITIES = ["Lisbon", "Oslo", "Lima", "Kyoto", "Accra", "Perth", "Quito", "Turin", "Dublin", "Cairo"]
SENTENCES = [
    "{name} is {age} and lives in {city}.",
    "In {city} lives {name}, aged {age}.",
    "At {age}, {name} moved to {city}.",
    "{name} from {city} is {age} years old.",
]


def main() -> None:
    draw = random.Random(0)
    seen = set()
    while len(seen) < 68:
        facts = {"name": draw.choice(NAMES), "age": draw.randint(18, 80), "city": draw.choice(CITIES)}
        sentence = draw.choice(SENTENCES).format(**facts)
        if sentence in seen:
            continue
        seen.add(sentence)
        turns = [{"role": "user", "content": sentence}, {"role": "assistant", "content": json.dumps(facts)}]
        print(json.dumps({"messages": turns}))


if __name__ == "__main__":
    main()
