"""Fills out/database/shop.sqlite: who bought what. The stage shop runs it; make_data.py asks about the same rows."""

import pathlib
import random
import sqlite3

SCHEMA = {"customers": "id, name, city", "products": "id, name, price", "orders": "id, customer_id, product_id, quantity"}
NAMES = ["Ada", "Ben", "Chen", "Dina", "Eli", "Fay", "Gus", "Hana", "Ivo", "June", "Kai", "Lea", "Max", "Nora", "Otto", "Pia"]
CITIES = ["Lisbon", "Oslo", "Lima", "Kyoto", "Accra"]
PRODUCTS = ["lamp", "chair", "kettle", "clock", "mirror", "carpet", "shelf", "vase", "blanket", "candle", "basket", "pillow"]


def fill(shop: sqlite3.Connection) -> sqlite3.Connection:
    """Makes the tables and their rows, always the same ones."""
    draw = random.Random(1)
    for table, columns in SCHEMA.items():
        shop.execute(f"CREATE TABLE {table}({columns})")
    shop.executemany("INSERT INTO customers VALUES (?, ?, ?)", [(i + 1, name, draw.choice(CITIES)) for i, name in enumerate(NAMES)])
    shop.executemany("INSERT INTO products VALUES (?, ?, ?)", [(i + 1, name, draw.randint(3, 120)) for i, name in enumerate(PRODUCTS)])
    orders = [(i + 1, draw.randint(1, len(NAMES)), draw.randint(1, len(PRODUCTS)), draw.randint(1, 9)) for i in range(80)]
    shop.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", orders)
    shop.commit()
    return shop


if __name__ == "__main__":
    fill(sqlite3.connect(pathlib.Path("out/database/shop.sqlite"))).close()
