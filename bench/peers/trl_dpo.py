"""TRL's DPOTrainer on preference rows, for bench/dpo.py. Prints one JSON line: seconds of each step, losses and margins.

usage: trl_dpo.py MODEL ROWS.jsonl STEPS PAIRS-A-STEP LEARNING-RATE MAX-LENGTH

TRL's defaults but for: rows in order, float32, no gradient checkpointing. Its reference is a second model, asked in each step.
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
from trl import DPOConfig, DPOTrainer

p = argparse.ArgumentParser()
for name, kind in dict(model=str, rows=str, steps=int, batch=int, rate=float, length=int).items():
    p.add_argument(name, type=kind)
a = p.parse_args()

datasets.disable_progress_bars()
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


class Clock(TrainerCallback):
    """Stamps the beginning of training and the end of each step, as hone's log does."""

    def __init__(self):
        self.ends, self.losses, self.margins = [], [], []

    def on_step_end(self, args, state, control, **_):
        self.ends.append(time.time())

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))
            self.margins.append(float(logs["rewards/margins"]))


clock = Clock()
with tempfile.TemporaryDirectory() as out:
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32), processing_class=AutoTokenizer.from_pretrained(a.model),
        train_dataset=datasets.load_dataset("json", data_files=a.rows, split="train", cache_dir=out), callbacks=[clock],
        args=DPOConfig(output_dir=out, max_steps=a.steps, per_device_train_batch_size=a.batch, learning_rate=a.rate, max_length=a.length,
                       bf16=False, gradient_checkpointing=False, train_sampling_strategy="sequential", use_cpu=True,
                       dataloader_pin_memory=False, logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True))
    stdout, sys.stdout = sys.stdout, sys.stderr  # the trainer prints each log
    trainer.train()
    sys.stdout = stdout
print(json.dumps({"ends": clock.ends, "losses": clock.losses, "margins": clock.margins}))
