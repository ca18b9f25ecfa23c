"""TRL's SFTTrainer on rows, for bench/sft.py and bench/mixed.py. Prints one JSON line: the end of each step, losses, and tokens so far.

usage: trl_sft.py MODEL ROWS.jsonl STEPS ROWS-A-STEP LEARNING-RATE MAX-LENGTH float32|bfloat16 [--lora RANK] [--packing]

TRL's defaults but for: rows in order, no gradient checkpointing, LoRA without dropout. bfloat16 is its bf16=True. With --packing the rows of
a step are packed ones.
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
from trl import SFTConfig, SFTTrainer

p = argparse.ArgumentParser()
for name, kind in dict(model=str, rows=str, steps=int, batch=int, rate=float, length=int, dtype=str).items():
    p.add_argument(name, type=kind)
p.add_argument("--lora", type=int)
p.add_argument("--packing", action="store_true")
a = p.parse_args()

datasets.disable_progress_bars()
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


class Clock(TrainerCallback):
    """Stamps the end of each step, as hone's log does."""

    def __init__(self):
        self.ends, self.losses, self.tokens = [], [], []

    def on_step_end(self, args, state, control, **_):
        self.ends.append(time.time())

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))
            self.tokens.append(int(logs["num_tokens"]))


clock, peft = Clock(), None
if a.lora:
    from peft import LoraConfig

    peft = LoraConfig(r=a.lora, lora_alpha=2 * a.lora, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
with tempfile.TemporaryDirectory() as out:
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32), processing_class=AutoTokenizer.from_pretrained(a.model),
        train_dataset=datasets.load_dataset("json", data_files=a.rows, split="train", cache_dir=out), peft_config=peft, callbacks=[clock],
        args=SFTConfig(output_dir=out, max_steps=a.steps, per_device_train_batch_size=a.batch, learning_rate=a.rate, max_length=a.length, packing=a.packing,
                       bf16=a.dtype == "bfloat16", gradient_checkpointing=False, train_sampling_strategy="sequential", use_cpu=True,
                       dataloader_pin_memory=False, logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True))
    stdout, sys.stdout = sys.stdout, sys.stderr  # the trainer prints each log
    trainer.train()
    sys.stdout = stdout
print(json.dumps({"ends": clock.ends, "losses": clock.losses, "tokens": clock.tokens}))
