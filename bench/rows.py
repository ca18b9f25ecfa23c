"""The rows and prompts that benchmarks use: deterministic, of the lengths of everyday instruction data."""

import random

CITIES = ["Lisbon", "Oslo", "Quito", "Hanoi", "Turin", "Accra", "Perth", "Minsk"]
GOODS = ["bolts of cloth", "crates of tea", "rolls of wire", "sacks of rice", "tins of paint"]


def conversations(n, seed=0):
    """n rows {"messages"} of about 120 tokens for SmolLM2's tokenizer with its template: a delivery worked out step by step."""
    r = random.Random(seed)
    rows = []
    for _ in range(n):
        start, end = r.sample(CITIES, 2)
        what, loads, each, lost = r.choice(GOODS), r.randint(3, 30), r.randint(4, 60), r.randint(1, 9)
        question = (f"A carrier takes {loads} loads from {start} to {end}, each of {each} {what}. On the way {lost} are damaged. "
                    f"How many {what} arrive?")
        answer = (f"That is {loads} x {each} = {loads * each} {what} at {start}. "
                  f"Of these {lost} are left behind, so {loads * each} - {lost} = {loads * each - lost} arrive in {end}.")
        rows.append({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
    return rows


def mixed(n, shortest=16, longest=1024, seed=0):
    """n rows {"text"} of about so many to so many tokens for SmolLM2's tokenizer, short ones as likely as those of twice the length."""
    r = random.Random(seed)
    words = "the a river house garden of and to in with old new small large light water stone bread under over they found made saw".split()
    rows = []
    for _ in range(n):
        length = round(shortest * (longest / shortest) ** r.random())
        rows.append({"text": " ".join(r.choice(words) for _ in range(length - 1))})  # and eos
    return rows


def prompts(n):
    """n rows {"messages"} that ask for an answer longer than any benchmark lets it become."""
    return [{"messages": [{"role": "user", "content": f"Write a long and detailed story about {CITIES[i % len(CITIES)]}, number {i + 1} of a series, in many paragraphs."}]}
            for i in range(n)]
