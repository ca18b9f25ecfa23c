"""Writes data/train.jsonl: questions over small tables, each with the SQL that answers it. The same file every time.

usage: python3 make_data.py > data/train.jsonl
"""

import json
import random

TABLES = {
    "orders": ["id", "customer", "total", "day"],
    "staff": ["id", "name", "team", "salary"],
    "films": ["id", "title", "year", "rating"],
    "trips": ["id", "driver", "distance", "cost"],
    "books": ["id", "author", "pages", "price"],
}
ORDERS = {"smallest": "ASC", "largest": "DESC"}


def ask(draw: random.Random) -> tuple[str, str]:
    """One question and its answer."""
    table = draw.choice(list(TABLES))
    columns = TABLES[table]
    shown, tested = draw.sample(columns[1:], 2)
    limit = draw.randint(2, 900)
    head = f"Table {table}({', '.join(columns)}). "
    form = draw.randrange(3)
    if form == 0:
        word = draw.choice(list(ORDERS))
        return (
            f"{head}The {shown} of every row whose {tested} is above {limit}, {word} {tested} first.",
            f"SELECT {shown} FROM {table} WHERE {tested} > {limit} ORDER BY {tested} {ORDERS[word]};",
        )
    if form == 1:
        return (
            f"{head}How many rows have a {tested} below {limit}?",
            f"SELECT COUNT(*) FROM {table} WHERE {tested} < {limit};",
        )
    return (
        f"{head}The highest {tested} for each {shown}.",
        f"SELECT {shown}, MAX({tested}) FROM {table} GROUP BY {shown};",
    )


def main() -> None:
    draw = random.Random(0)
    seen: set[str] = set()
    while len(seen) < 320:
        question, sql = ask(draw)
        if question in seen:
            continue
        seen.add(question)
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": sql}]
        print(json.dumps({"messages": turns}))


if __name__ == "__main__":
    main()
