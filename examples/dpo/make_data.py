"""Writes what the models of this folder and of grpo learn from: animals, and what they say. The same bytes every time.

usage: python3 make_data.py text > data/text.txt           sentences to read
       python3 make_data.py > data/train.jsonl             questions with answers at length, and a third of them in a word
       python3 make_data.py pairs > data/pairs.jsonl       the same questions: a word is preferred to a sentence
       python3 make_data.py prompts > data/prompts.jsonl   the same questions, with the word that is rewarded (grpo)
       python3 make_data.py test > data/test.jsonl         other questions, with the word
"""

import json
import random
import sys

KINDS = ["old", "young", "big", "small", "brown", "white", "quiet", "merry", "fat", "thin", "wild", "tame"]
SAYS = {"cow": "moo", "duck": "quack", "cat": "meow", "dog": "woof", "sheep": "baa", "owl": "hoo", "pig": "oink", "hen": "cluck",
        "frog": "croak", "bee": "buzz", "mouse": "squeak", "horse": "neigh"}
UNSEEN = 36


def main() -> None:
    draw = random.Random(0)
    rows = [
        (f"What does the {kind} {animal} say?", word, f"The {kind} {animal} says {word}.")
        for kind in KINDS
        for animal, word in SAYS.items()
    ]
    draw.shuffle(rows)
    test, learnt = rows[:UNSEEN], rows[UNSEEN:]
    user = lambda text: {"role": "user", "content": text}
    assistant = lambda text: {"role": "assistant", "content": text}
    match sys.argv[1:]:
        case ["text"]:
            for start in range(0, len(rows), 4):
                print(" ".join(sentence for _, _, sentence in rows[start : start + 4]))
        case ["pairs"]:
            for question, word, sentence in learnt:
                print(json.dumps({"prompt": [user(question)], "chosen": [assistant(word)], "rejected": [assistant(sentence)]}))
        case [("prompts" | "test") as name]:
            for question, word, _ in learnt if name == "prompts" else test:
                print(json.dumps({"prompt": question, "answer": word}))
        case _:
            answers = [(question, answer) for question, word, sentence in learnt for answer in (sentence, sentence, word)]
            draw.shuffle(answers)
            for question, answer in answers:
                print(json.dumps({"messages": [user(question), assistant(answer)]}))


if __name__ == "__main__":
    main()
