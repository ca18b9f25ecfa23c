"""Which rows transformers and TRL put together.

usage: order.py     writes internal/train/testdata/order.json

order.json
  grouped   for rows of these lengths in this order, and so many rows a step: the order that get_length_grouped_indices makes of it
  packed    for rows of these lengths and bins of so many tokens: how many tokens each bin of TRL's pack_dataset holds, sorted
            (which of two bins with the same room a row goes into is chance)
"""

import random

import datasets
import torch
from transformers.trainer_pt_utils import get_length_grouped_indices
from trl import pack_dataset

from common import INTERNAL, versions, write_json


def generator(seed):
    return torch.Generator().manual_seed(seed)


def grouped(seed, rows, step):
    draw = random.Random(seed)
    lengths = [draw.randint(1, 60) for _ in range(rows)]
    return {"lengths": lengths, "step": step, "order": torch.randperm(rows, generator=generator(seed)).tolist(),
            "want": get_length_grouped_indices(lengths, step, generator=generator(seed))}


def packed(seed, rows, room):
    draw = random.Random(seed)
    lengths = [draw.randint(1, room * 4 // 3) for _ in range(rows)]  # the longest are cut
    bins = pack_dataset(datasets.Dataset.from_dict({"input_ids": [[0] * n for n in lengths]}), room, strategy="bfd")
    return {"lengths": lengths, "room": room, "want": sorted(len(ids) for ids in bins["input_ids"])}


if __name__ == "__main__":
    datasets.disable_progress_bars()
    write_json(INTERNAL / "train" / "testdata" / "order.json", {
        "versions": versions("trl"),
        "grouped": [grouped(1, 23, 2), grouped(2, 3, 4), grouped(3, 450, 2)],
        "packed": [packed(4, 40, 32), packed(5, 200, 100)]})
