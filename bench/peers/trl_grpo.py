"""TRL's GRPOTrainer on prompts, for bench/grpo.py. Prints one JSON line: the end of each step, and the mean length of its answers.

usage: trl_grpo.py MODEL ROWS.jsonl STEPS GENERATIONS NEW-TOKENS LEARNING-RATE

TRL's defaults but for: float32, rows in order, no gradient checkpointing. The reward is the answer's length, as hone's is.
"""

import argparse
import json
import os
import sys
import tempfile
import time

import datasets
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

p = argparse.ArgumentParser()
for name, kind in dict(model=str, rows=str, steps=int, generations=int, tokens=int, rate=float).items():
    p.add_argument(name, type=kind)
a = p.parse_args()

datasets.disable_progress_bars()
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


class Clock(TrainerCallback):
    """Stamps the end of each step, as hone's log does."""

    def __init__(self):
        self.ends, self.lengths = [], []

    def on_step_end(self, args, state, control, **_):
        self.ends.append(time.time())

    def on_log(self, args, state, control, logs=None, **_):
        if "completions/mean_length" in logs:
            self.lengths.append(float(logs["completions/mean_length"]))


def length(completions, **_):
    return [len(c[0]["content"]) / 100 for c in completions]


clock = Clock()
rows = datasets.load_dataset("json", data_files=a.rows, split="train").map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"]}]})
with tempfile.TemporaryDirectory() as out:
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32), processing_class=AutoTokenizer.from_pretrained(a.model),
        train_dataset=rows, reward_funcs=[length], callbacks=[clock],
        args=GRPOConfig(output_dir=out, max_steps=a.steps, per_device_train_batch_size=a.generations, num_generations=a.generations,
                        max_completion_length=a.tokens, learning_rate=a.rate, bf16=False, gradient_checkpointing=False, shuffle_dataset=False,
                        use_cpu=True, dataloader_pin_memory=False, logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True))
    stdout, sys.stdout = sys.stdout, sys.stderr  # the trainer prints each log
    trainer.train()
    sys.stdout = stdout
print(json.dumps({"ends": clock.ends, "lengths": clock.lengths}))
