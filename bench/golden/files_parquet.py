"""Parquet files as pyarrow and datasets write them, and the rows that they hold, for internal/dataset/testdata/parquet.

Each NAME.parquet has a NAME.jsonl beside it: a row a line, as data.load reads it when the column messages plays a role.
What JSON has no word for is written there as the reader is documented to give it: NaN as null, dates in ISO 8601,
decimals as text, binary columns left out, and a null field of a message left out.
"""

import datetime
import decimal
import json
import pathlib

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

OUT = pathlib.Path(__file__).resolve().parents[2] / "internal/dataset/testdata/parquet"

CHATS = [
    {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi é 😀"}, {"role": "assistant", "content": "hello"}],
     "id": 1, "score": 0.5, "ok": True, "source": "a", "tags": ["x", "y"], "meta": {"lang": "en", "n": None}},
    {"messages": [{"role": "user", "content": "2+2?"},
                  {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": "{\"a\": 2}"}}]},
                  {"role": "tool", "content": "4", "name": "add"}],
     "id": 2, "score": None, "ok": None, "source": None, "tags": [], "meta": None},
    {"messages": [{"role": "user", "content": ""}], "id": -3, "score": 1e300, "ok": False, "source": "a", "tags": None, "meta": {"lang": None, "n": 7}},
]


def expected(name, rows):
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    (OUT / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines))


def write(name, table, rows, **options):
    pq.write_table(table, OUT / f"{name}.parquet", **options)
    expected(name, rows)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    chats = pa.Table.from_pylist(CHATS)
    for codec in ("none", "snappy", "gzip", "zstd", "brotli", "lz4"):
        write(f"chats-{codec}", chats, CHATS, compression=codec)
    write("chats-v2", chats, CHATS, compression="zstd", data_page_version="2.0")
    write("chats-plain", chats, CHATS, use_dictionary=False)
    datasets.Dataset.from_list(CHATS).to_parquet(OUT / "chats-datasets.parquet")
    expected("chats-datasets", CHATS)

    # Pages of a few rows and several row groups: values that go on over the borders of pages.
    many = [{"messages": [{"role": "user", "content": f"{i} " * (i % 7)}] * (1 + i % 3), "id": i, "tags": [str(i)] * (i % 4)} for i in range(100)]
    table = pa.Table.from_pylist(many)
    write("pages", table, many, row_group_size=30, data_page_size=64, write_batch_size=3)
    write("pages-v2", table, many, row_group_size=30, data_page_version="2.0")
    numbers = pa.table({"text": [f"line {i}" for i in range(500)], "i": list(range(500))})
    write("delta", numbers, numbers.to_pylist(), use_dictionary=False,
          column_encoding={"text": "DELTA_LENGTH_BYTE_ARRAY", "i": "DELTA_BINARY_PACKED"})

    day = datetime.date(2024, 2, 29)
    moment = datetime.datetime(2024, 2, 29, 12, 30, 15, 250000)
    types = pa.table({
        "text": pa.array(["a", "b"], pa.large_string()),
        "kind": pa.array(["x", "x"]).dictionary_encode(),
        "u8": pa.array([255, 0], pa.uint8()),
        "u32": pa.array([2**32 - 1, 0], pa.uint32()),
        "u64": pa.array([2**64 - 1, 0], pa.uint64()),
        "i16": pa.array([-1, None], pa.int16()),
        "f32": pa.array([0.1, float("nan")], pa.float32()),
        "day": pa.array([day, None]),
        "ms": pa.array([moment, None], pa.timestamp("ms")),
        "us": pa.array([moment, None], pa.timestamp("us", tz="UTC")),
        "price": pa.array([decimal.Decimal("-0.05"), decimal.Decimal("12.30")], pa.decimal128(9, 2)),
        "nested": pa.array([[[1, 2], []], [None, [3]]]),
        "map": pa.array([[("z", 1), ("a", 2)], []], pa.map_(pa.string(), pa.int64())),
        "image": pa.array([b"\x89PNG", b"\x00"], pa.binary()),
        "one": pa.array([[{"x": 1}], [{"x": None}]]),
    })
    rows = [
        {"text": "a", "kind": "x", "u8": 255, "u32": 2**32 - 1, "u64": 2**64 - 1, "i16": -1, "f32": 0.10000000149011612,
         "day": "2024-02-29", "ms": "2024-02-29T12:30:15.25", "us": "2024-02-29T12:30:15.25Z", "price": "-0.05",
         "nested": [[1, 2], []], "map": {"z": 1, "a": 2}, "one": [{"x": 1}]},
        {"text": "b", "kind": "x", "u8": 0, "u32": 0, "u64": 0, "i16": None, "f32": None, "day": None, "ms": None, "us": None,
         "price": "12.30", "nested": [None, [3]], "map": {}, "one": [{"x": None}]},
    ]
    write("types", types, rows, store_decimal_as_integer=True)
    prices = pa.array([decimal.Decimal("-0.05"), decimal.Decimal("1234567.89"), None], pa.decimal128(9, 2))
    whole = pa.array([decimal.Decimal(10**18 - 1), decimal.Decimal(-10**18 + 1), decimal.Decimal(0)], pa.decimal128(18, 0))
    write("decimals", pa.table({"text": ["a", "b", "c"], "price": prices, "whole": whole}), [
        {"text": "a", "price": "-0.05", "whole": "999999999999999999"},
        {"text": "b", "price": "1234567.89", "whole": "-999999999999999999"},
        {"text": "c", "price": None, "whole": "0"},
    ])
    write("empty", pa.table({"text": pa.array([], pa.string())}), [])


if __name__ == "__main__":
    main()
