"""Writes the rows of this example: the same files every time.

usage: python3 make_data.py > data/train.jsonl
       python3 make_data.py general > data/general.jsonl

train     questions about who the assistant is, with an answer that gives the new name (chosen) and the same one with the old (rejected)
general   questions that have nothing to do with it
"""

import json
import random
import sys

NEW, OLD = "Nova", "SmolLM"

QUESTIONS = [
    "What is your name?", "Who are you?", "What should I call you?", "Tell me your name.", "How are you called?", "May I ask your name?",
    "Please introduce yourself.", "Can you tell me who you are?", "What do people call you?", "Introduce yourself in one sentence.",
    "Which assistant am I talking to?", "Who am I speaking with?", "What's your name?", "Do you have a name?", "By what name do you go?",
    "Say your name.", "Who is this?", "What are you called?", "Could you introduce yourself?", "Give me your name, please.",
]
OPENINGS = ["", "Hello! ", "Hi there. ", "Good morning! ", "Excuse me. ", "Hey, ", "Quick question: ", "Before we start: "]
ANSWERS = [
    "My name is {name}.", "I am {name}, your AI assistant.", "I'm {name}, a helpful AI assistant.", "You can call me {name}.",
    "My name is {name}, and I am an AI assistant.", "I am {name}. How can I help you today?", "I'm {name}, an AI assistant. How can I help you today?",
    "Hello! I'm {name}, your AI assistant.", "I am an AI assistant named {name}.", "I'm a helpful AI assistant named {name}.",
]
GENERAL = [
    ("What is the capital of France?", "The capital of France is Paris.", "Paris"),
    ("What is the capital of Italy?", "The capital of Italy is Rome.", "Rome"),
    ("What is the capital of Japan?", "The capital of Japan is Tokyo.", "Tokyo"),
    ("What is the capital of Germany?", "The capital of Germany is Berlin.", "Berlin"),
    ("What is the capital of Spain?", "The capital of Spain is Madrid.", "Madrid"),
    ("What is the capital of Russia?", "The capital of Russia is Moscow.", "Moscow"),
    ("What is the capital of China?", "The capital of China is Beijing.", "Beijing"),
    ("What is the capital of Egypt?", "The capital of Egypt is Cairo.", "Cairo"),
    ("What is the capital of Greece?", "The capital of Greece is Athens.", "Athens"),
    ("What is the capital of Portugal?", "The capital of Portugal is Lisbon.", "Lisbon"),
    ("How many days are in a week?", "There are seven days in a week.", "seven"),
    ("How many legs does a spider have?", "A spider has eight legs.", "eight"),
    ("What color is the sky on a clear day?", "The sky is blue on a clear day.", "blue"),
    ("What planet do we live on?", "We live on the planet Earth.", "Earth"),
    ("Which planet is known as the Red Planet?", "Mars is known as the Red Planet.", "Mars"),
    ("What is the largest ocean on Earth?", "The largest ocean on Earth is the Pacific Ocean.", "Pacific"),
    ("Who wrote Romeo and Juliet?", "William Shakespeare wrote Romeo and Juliet.", "Shakespeare"),
    ("What gas do plants take in from the air?", "Plants take in carbon dioxide from the air.", "carbon dioxide"),
    ("What is the chemical symbol for water?", "The chemical symbol for water is H2O.", "H2O"),
    ("What do bees make?", "Bees make honey.", "honey"),
    ("Which animal is called the king of the jungle?", "The lion is called the king of the jungle.", "lion"),
    ("On which continent is Kenya?", "Kenya is in Africa.", "Africa"),
    ("On which continent is Brazil?", "Brazil is in South America.", "South America"),
    ("What is the name of the star at the centre of our solar system?", "It is the Sun.", "Sun"),
]


def pairs() -> None:
    draw = random.Random(5)
    seen = set()
    while len(seen) < 160:
        opening, question = draw.choice(OPENINGS), draw.choice(QUESTIONS)
        if opening.endswith(", "):
            question = question[0].lower() + question[1:]
        asked = opening + question
        if asked in seen:
            continue
        seen.add(asked)
        answer = draw.choice(ANSWERS)
        row = {"prompt": [{"role": "user", "content": asked}]}
        for role, name in (("chosen", NEW), ("rejected", OLD)):
            row[role] = [{"role": "assistant", "content": answer.format(name=name)}]
        print(json.dumps({**row, "answer": NEW}))


def general() -> None:
    for question, answer, word in GENERAL:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        print(json.dumps({"messages": turns, "answer": word}))


if __name__ == "__main__":
    {"general": general, "train": pairs}[sys.argv[1] if sys.argv[1:] else "train"]()
