"""Writes what the tiny model learns from: a farm that nobody else knows. The same bytes every time.

usage: python3 make_data.py > data/train.jsonl       questions and answers
       python3 make_data.py text > data/text.txt     the same world as plain text
"""

import json
import random
import sys

KINDS = ["old", "young", "big", "small", "brown", "white", "quiet", "merry", "fat", "thin", "wild", "tame"]
ANIMALS = {
    # what it says, what it eats, where it sleeps
    "cow": ("moo", "hay", "barn"),
    "duck": ("quack", "bread", "pond"),
    "cat": ("meow", "fish", "house"),
    "dog": ("woof", "meat", "yard"),
    "sheep": ("baa", "grass", "field"),
    "owl": ("hoo", "mice", "tree"),
    "pig": ("oink", "roots", "sty"),
    "hen": ("cluck", "corn", "coop"),
    "frog": ("croak", "flies", "reeds"),
    "bee": ("buzz", "nectar", "hive"),
    "mouse": ("squeak", "cheese", "hole"),
    "horse": ("neigh", "oats", "stable"),
}
SAID = [
    ("What does the {kind} {animal} say?", "The {kind} {animal} says {word}."),
    ("What does the {kind} {animal} eat?", "The {kind} {animal} eats {word}."),
    ("Where does the {kind} {animal} sleep?", "The {kind} {animal} sleeps in the {word}."),
]


def world() -> list[tuple[str, str, str]]:
    """Every question, its answer, and the sentence that says the same."""
    return [
        (question.format(kind=kind, animal=animal), words[i], sentence.format(kind=kind, animal=animal, word=words[i]))
        for kind in KINDS
        for animal, words in ANIMALS.items()
        for i, (question, sentence) in enumerate(SAID)
    ]


def main() -> None:
    draw = random.Random(0)
    rows = world()
    draw.shuffle(rows)
    if sys.argv[1:] == ["text"]:
        for start in range(0, len(rows), 4):
            print(" ".join(sentence for _, _, sentence in rows[start : start + 4]))
        return
    for question, answer, _ in rows:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        print(json.dumps({"messages": turns}))


if __name__ == "__main__":
    main()
