"""Writes the rows of this example: the same files every time.

usage: python3 make_data.py > data/train.jsonl         questions with their answers alone
       python3 make_data.py chains > data/chains.jsonl    other questions, with the steps written out
"""

import json
import random
import sys

STORIES = [
    ("A bus has {n} people. ", ["{n} get on", "{n} get off"], "How many people are on the bus?"),
    ("A box holds {n} pens. ", ["{n} are put in", "{n} are taken out"], "How many pens are in the box?"),
    ("There are {n} ducks on a pond. ", ["{n} fly in", "{n} fly away"], "How many ducks are on the pond?"),
    ("A shelf has {n} books. ", ["{n} are added", "{n} are lent"], "How many books are on the shelf?"),
]


def ask(draw: random.Random) -> tuple[str, str, str]:
    """A question of three steps, the steps, and the answer. No number on the way is below 0 or above 12."""
    opening, changes, question = draw.choice(STORIES)
    have = draw.randint(2, 9)
    story, steps = [], []
    opening = opening.format(n=have)
    for _ in range(3):
        sign = draw.choice([s for s in (1, -1) if 0 <= have + 2 * s <= 12])
        n = draw.randint(2, min(5, 12 - have if sign > 0 else have))
        story.append(changes[sign < 0].format(n=n))
        steps.append(f"{have} {'+' if sign > 0 else '-'} {n} = {have + sign * n}.")
        have += sign * n
    return f"{opening}{story[0][0].upper()}{story[0][1:]}, {story[1]}, then {story[2]}. {question}", " ".join(steps), str(have)


def main() -> None:
    draw = random.Random(0)
    seen = set()
    chains, rows = [], []
    while len(seen) < 300:
        asked, steps, answer = ask(draw)
        if asked in seen:
            continue
        seen.add(asked)
        said, part = (f"{steps} The answer is {answer}.", chains) if len(chains) < 60 else (answer, rows)
        part.append({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]})
    for row in chains if sys.argv[1:] == ["chains"] else rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
