"""Writes data/train.jsonl: short conversations about people, with the answers of an assistant. The same file every time.

usage: python3 make_data.py > data/train.jsonl
"""

import json
import random

NAMES = ["Ada", "Ben", "Chen", "Dina", "Eli", "Fay", "Gus", "Hana", "Ivo", "June", "Kai", "Lea", "Max", "Nora", "Otto", "Pia"]
CITIES = ["Lisbon", "Oslo", "Lima", "Kyoto", "Accra", "Perth", "Quito", "Turin", "Dublin", "Cairo"]
JOBS = ["baker", "pilot", "nurse", "tailor", "potter", "judge", "miner", "welder", "teacher", "farmer"]
SENTENCES = [
    "{name} is a {age}-year-old {job} from {city}.",
    "In {city} lives {name}, who is {age} and works as a {job}.",
    "The {job} {name}, aged {age}, comes from {city}.",
    "{name}, {age}, has been a {job} in {city} for years.",
]
ASKED = [
    (["How old is {name}?", "What is {name}'s age?"], "{name} is {age} years old."),
    (["Where does {name} live?", "In which city is {name} at home?"], "{name} lives in {city}."),
    (["What does {name} do for a living?", "What is {name}'s job?"], "{name} works as a {job}."),
]


def talk(draw: random.Random) -> list[dict[str, str]]:
    """A question about a sentence and its answer; in a third of the conversations another question follows."""
    facts = {"name": draw.choice(NAMES), "age": draw.randint(18, 80), "job": draw.choice(JOBS), "city": draw.choice(CITIES)}
    turns = []
    for i, (questions, answer) in enumerate(draw.sample(ASKED, draw.choice([1, 1, 2]))):
        asked = draw.choice(questions) if i else f"{draw.choice(SENTENCES)} {draw.choice(questions)}"
        turns += [{"role": "user", "content": asked.format(**facts)}, {"role": "assistant", "content": answer.format(**facts)}]
    return turns


def main() -> None:
    draw = random.Random(0)
    for _ in range(240):
        print(json.dumps({"messages": talk(draw)}))


if __name__ == "__main__":
    main()
