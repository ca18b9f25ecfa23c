"""Reads a dataset artifact of hone's with datasets.load_dataset, by its folder and by its file, and prints the rows as
JSON lines, null fields of messages left out: what hone wrote.

    dataset_check.py FOLDER
"""

import json
import sys

import datasets

datasets.disable_progress_bars()
folder = sys.argv[1]
rows = datasets.load_dataset("parquet", data_files=f"{folder}/data.parquet", split="train")
assert list(datasets.load_dataset(folder, split="train")) == list(rows), "the folder and the file differ"
for row in rows:
    row["messages"] = [{key: value for key, value in turn.items() if value is not None} for turn in row["messages"]]
    print(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
