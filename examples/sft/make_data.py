"""Writes data/train.jsonl: sentences about people, each with its facts as JSON. The same file every time.

usage: python3 make_data.py > data/train.jsonl
"""

import json
import random

NAMES = ["Ada", "Bo", "Chen", "Dina", "Eli", "Fay", "Gus", "Hana", "Ivo", "Juno", "Kai", "Lea"]
CITIES = ["Lisbon", "Oslo", "Lima", "Kyoto", "Accra", "Perth", "Quito", "Turin"]
JOBS = ["baker", "pilot", "nurse", "tailor", "potter", "judge", "miner", "welder"]
SENTENCES = [
    "{name} is a {age}-year-old {job} from {city}.",
    "In {city} lives {name}, who is {age} and works as a {job}.",
    "The {job} {name}, aged {age}, comes from {city}.",
    "{name}, {age}, has been a {job} in {city} for years.",
]


def main() -> None:
    draw = random.Random(0)
    for _ in range(240):
        facts = {
            "name": draw.choice(NAMES),
            "age": draw.randint(18, 80),
            "job": draw.choice(JOBS),
            "city": draw.choice(CITIES),
        }
        prompt = "Write the facts as JSON. " + draw.choice(SENTENCES).format(**facts)
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": json.dumps(facts)}]
        print(json.dumps({"messages": turns}))


if __name__ == "__main__":
    main()
