"""Writes data/train.jsonl: questions about the shop of make_database.py, each with a query that answers it. The same file every time.

usage: python3 make_data.py > data/train.jsonl
"""

import json
import random
import sqlite3

from make_database import CITIES, NAMES, PRODUCTS, SCHEMA, fill

HEAD = "Tables: " + ", ".join(f"{table}({columns})" for table, columns in SCHEMA.items()) + ".\n"
BY_CUSTOMER = "FROM orders JOIN customers ON customer_id = customers.id WHERE customers"
BY_PRODUCT = "FROM orders JOIN products ON product_id = products.id WHERE products"
ASKED = [
    (["Which customers live in {city}?", "List the names of all customers from {city}."], "SELECT name FROM customers WHERE city = '{city}';"),
    (["How many customers live in {city}?", "Count the customers from {city}."], "SELECT COUNT(*) FROM customers WHERE city = '{city}';"),
    (["Which products cost more than {n}?", "What do we sell above {n}?"], "SELECT name FROM products WHERE price > {n};"),
    (["Which products cost less than {n}?", "What can I buy for under {n}?"], "SELECT name FROM products WHERE price < {n};"),
    (["What does a {product} cost?", "What is the price of a {product}?"], "SELECT price FROM products WHERE name = '{product}';"),
    (["Where does {name} live?", "What is the city of {name}?"], "SELECT city FROM customers WHERE name = '{name}';"),
    (["How many orders did {name} place?", "How often did {name} order?"], "SELECT COUNT(*) {by_customer}.name = '{name}';"),
    (["How many orders came from {city}?", "Count the orders of customers in {city}."], "SELECT COUNT(*) {by_customer}.city = '{city}';"),
    (["How many pieces of the {product} were sold?", "What quantity of the {product} was ordered?"], "SELECT SUM(quantity) {by_product}.name = '{product}';"),
    (["How many orders have a quantity above {few}?", "Count the orders of more than {few} pieces."], "SELECT COUNT(*) FROM orders WHERE quantity > {few};"),
]


def main() -> None:
    draw = random.Random(0)
    shop = fill(sqlite3.connect(":memory:"))
    seen = set()
    while len(seen) < 160:
        words = {"city": draw.choice(CITIES), "n": draw.randint(5, 110), "product": draw.choice(PRODUCTS), "name": draw.choice(NAMES)}
        questions, query = draw.choice(ASKED)
        words |= {"few": draw.randint(2, 8), "by_customer": BY_CUSTOMER, "by_product": BY_PRODUCT}
        asked, query = draw.choice(questions).format(**words), query.format(**words)
        if asked in seen or shop.execute(query).fetchall() in ([], [(None,)], [(0,)]):
            continue  # an answer of nothing would be right by chance
        seen.add(asked)
        turns = [{"role": "user", "content": HEAD + asked}, {"role": "assistant", "content": query}]
        print(json.dumps({"messages": turns}))


if __name__ == "__main__":
    main()
