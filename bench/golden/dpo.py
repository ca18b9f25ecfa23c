"""Preference traces by TRL on the toy model: what each optimiser step reports, and the reward margin of unseen pairs after the last.

usage: dpo.py [NAME...]     after rows.py; writes pairs.jsonl and labelled.jsonl (rows as a user has them), and unseen-… of both, to
                            internal/train/testdata, and under dpo/ there what TRL makes of them:

pairs.json        rows of pairs.jsonl and of unseen pairs as DPOTrainer tokenizes them: prompt, chosen, rejected
pairs-cpo.json    the same as CPOTrainer and ORPOTrainer do: they put another eos behind a template's end of turn
labelled-N.json   rows of labelled.jsonl, and unseen ones, as KTOTrainer does with N rows a batch, each with the other row's completion for
                  its KL estimate
NAME.json
  config    the fields of train.dpo, under hone's names
  rows      which of the files above
  steps     loss, grad_norm (before clipping), learning_rate and the method's metrics, as TRL logs them
  eval      after the last step: loss and metrics of the unseen rows, EVAL a batch, as evaluate() logs them
  unseen    after the last step: the mean margin of the rewards of unseen pairs
NAME-init/  for LoRA: PEFT's own A (and B = 0) before the first step

Differences from TRL's defaults: no shuffle, no gradient checkpointing, float32. Left out: logits/chosen and logits/rejected of CPOTrainer
and ORPOTrainer, which are means over padding and prompts too.
"""

import contextlib
import io
import json
import random
import sys
import tempfile

import datasets
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

import sft
from common import INTERNAL, f32, versions, write_json
from rows import task

DATA = INTERNAL / "train" / "testdata"
OUT = DATA / "dpo"

BASE = {**{k: v for k, v in sft.BASE.items() if k not in ("loss", "packing")}, "learningRate": 1e-3, "maxSteps": 14,
        "beta": 0.1, "labelSmoothing": 0.0, "gamma": 0.5, "desirableWeight": 1.0, "undesirableWeight": 1.0}

EVAL = 4  # of ten unseen rows, so that the last batch is smaller

# 22 pairs by 4: the sixth step has two of them, and the seventh begins anew.
TRACES = {
    "sigmoid": {},
    "sigmoid-lora": {"loss": "sigmoid", "learningRate": 1e-2, "lora": sft.LORA},
    "ipo": {"beta": 0.3},
    "hinge": {"learningRate": 5e-4},
    "robust": {"labelSmoothing": 0.1, "batch": {"rows": 2, "accumulate": 2}},
    "exo_pair": {"labelSmoothing": 1e-3},
    "nca_pair": {"beta": 0.3},
    "bco_pair": {"learningRate": 2e-3},
    "sppo_hard": {"learningRate": 2e-3},
    "aot": {"labelSmoothing": 0.05},
    "aot_unpaired": {"batch": {"rows": 5, "accumulate": 2}},
    "apo_zero": {"learningRate": 2e-3},
    "apo_down": {"learningRate": 2e-3},
    "discopop": {"learningRate": 2e-3},
    "sigmoid_norm": {"beta": 2},
    "truncated": {"loss": "sigmoid", "maxLength": 44},
    "simpo": {"beta": 2},
    "orpo": {"learningRate": 4e-3},
    "kto": {"desirableWeight": 1.2, "undesirableWeight": 0.8, "learningRate": 4e-3, "beta": 0.3},
    "kto-accumulate": {"loss": "kto", "batch": {"rows": 3, "accumulate": 2}, "learningRate": 4e-3, "beta": 0.3},
}
TRAINERS = {"simpo": (CPOTrainer, CPOConfig), "orpo": (ORPOTrainer, ORPOConfig), "kto": (KTOTrainer, KTOConfig)}


def preference(r, system):
    """A question, its answer, and one that is wrong: another question's, or said with many words."""
    question, good = task(r)
    bad = task(r)[1] if r.random() < 0.6 else f"Well, let me think. {good} Or so."
    prompt = [{"role": "system", "content": "Answer in one line."}] if system else []
    return {"prompt": prompt + [{"role": "user", "content": question}], "chosen": [{"role": "assistant", "content": good}],
            "rejected": [{"role": "assistant", "content": bad}]}


def write_rows():
    r = random.Random(23)
    pairs = [preference(r, i % 4 == 0) for i in range(22)]
    unseen = [preference(r, False) for _ in range(10)]
    labelled = []
    for i in range(20):
        row = preference(r, i % 5 == 0)
        good = r.random() < 0.5
        labelled.append({"prompt": row["prompt"], "completion": row["chosen" if good else "rejected"], "label": good})
    others = [preference(r, False) for _ in range(10)]
    others = [{"prompt": row["prompt"], "completion": row["rejected" if i % 3 else "chosen"], "label": i % 3 == 0} for i, row in enumerate(others)]
    for name, rows in {"pairs": pairs, "labelled": labelled, "unseen-pairs": unseen, "unseen-labelled": others}.items():
        (DATA / f"{name}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def load(name, folder):
    return datasets.load_dataset("json", data_files=str(DATA / f"{name}.jsonl"), split="train", cache_dir=folder)


def settings(config, kind, out):
    schedule, optimizer, batch = config["schedule"], config["optimizer"], config["batch"]
    own = {"sigmoid": {}, "simpo": {"loss_type": "simpo", "cpo_alpha": 0.0, "simpo_gamma": config["gamma"], "label_smoothing": config["labelSmoothing"]},
           "orpo": {}, "kto": {"desirable_weight": config["desirableWeight"], "undesirable_weight": config["undesirableWeight"]}}
    more = own.get(kind) if kind in TRAINERS else {"loss_type": [kind], "label_smoothing": config["labelSmoothing"]}
    return TRAINERS.get(kind, (DPOTrainer, DPOConfig))[1](
        output_dir=out, learning_rate=config["learningRate"], max_steps=config["maxSteps"], beta=config["beta"],
        per_device_train_batch_size=batch["rows"], gradient_accumulation_steps=batch["accumulate"], max_length=config["maxLength"],
        per_device_eval_batch_size=EVAL,
        lr_scheduler_type=schedule["kind"], warmup_steps=schedule["warmup"],
        optim="adamw_torch_fused", adam_beta1=optimizer["beta1"], adam_beta2=optimizer["beta2"], adam_epsilon=optimizer["epsilon"],
        weight_decay=optimizer["weightDecay"], max_grad_norm=config["clip"], seed=config["seed"],
        bf16=False, gradient_checkpointing=False, train_sampling_strategy="sequential", use_cpu=True,
        dataloader_pin_memory=False, logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True, **more)


class Trace(sft.Trace):
    """Steps and evaluations with the method's own metrics."""

    def on_log(self, args, state, control, logs=None, **_):
        skip = {"loss", "grad_norm", "learning_rate", "epoch", "num_tokens", "runtime", "samples_per_second", "steps_per_second", "eval"}
        if args.__class__ in (CPOConfig, ORPOConfig):
            skip |= {"logits/chosen", "logits/rejected"}
        if isinstance(args, CPOConfig):
            skip |= {"nll_loss"}  # 0 without cpo_alpha
        names = {k: k.removeprefix("eval_") for k in sorted(logs)}
        metrics = {name: f32(logs[k]) for k, name in names.items() if name not in skip}
        if "eval_loss" in logs:
            self.evaluations.append({"loss": f32(logs["eval_loss"]), "metrics": metrics})
        if "loss" in logs:
            assert abs(logs["learning_rate"] - self.rate) < 1e-12
            self.steps.append({"step": state.global_step, "loss": float(logs["loss"]), "grad_norm": float(logs["grad_norm"]),
                               "learning_rate": self.rate, "epoch": logs["epoch"], "metrics": metrics})


def tokenized(dataset):
    """Rows as TRL made them."""
    rows = []
    for row in dataset:
        if "chosen_labels" in row:
            n = sum(label == -100 for label in row["chosen_labels"])
            assert row["chosen_input_ids"][:n] == row["rejected_input_ids"][:n]
            rows.append({"prompt": row["chosen_input_ids"][:n], "chosen": row["chosen_input_ids"][n:], "rejected": row["rejected_input_ids"][n:]})
        elif "label" in row:
            rows.append({"prompt": row["prompt_ids"], "completion": row["completion_ids"], "other": row["KL_completion_ids"], "label": int(row["label"])})
        else:
            rows.append({"prompt": row["prompt_ids"], "chosen": row["chosen_ids"], "rejected": row["rejected_ids"]})
    return rows


def likelihood(model, prompt, answer):
    ids = torch.tensor([prompt + answer])
    with torch.no_grad():
        scores = torch.log_softmax(model(ids).logits[0, :-1].double(), -1)
    return scores.gather(1, ids[0, 1:, None])[len(prompt) - 1:].sum().item()


def margin(model, rows, config, kind):
    """The mean difference of the rewards of unseen pairs."""
    reference = AutoModelForCausalLM.from_pretrained(DATA / "toy", dtype=torch.float32).eval()
    total = 0.0
    for row in rows:
        for side, sign in (("chosen", 1), ("rejected", -1)):
            found = likelihood(model, row["prompt"], row[side])
            found = found / len(row[side]) if kind in ("simpo", "orpo") else found - likelihood(reference, row["prompt"], row[side])
            total += sign * config["beta"] * found / len(rows)
    return total


def prepare(kind, data, config, folder, tok, model=None, **more):
    trainer = TRAINERS.get(kind, (DPOTrainer, DPOConfig))[0]
    model = model or AutoModelForCausalLM.from_pretrained(DATA / "toy", dtype=torch.float32)
    return trainer(model=model, args=settings(config, kind, folder), train_dataset=data, processing_class=tok, **more)


def run(name, overrides, folder):
    config = {**BASE, "loss": name, **overrides}
    kind, lora = config["loss"], config.get("lora")
    set_seed(0)
    tok = AutoTokenizer.from_pretrained(DATA / "toy")
    peft = lora and LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], target_modules=lora["targets"], lora_dropout=0.0, task_type="CAUSAL_LM")
    trace = Trace()
    rows = {"kto": "labelled", "simpo": "pairs-cpo", "orpo": "pairs-cpo"}.get(kind, "pairs")
    data = load("labelled" if kind == "kto" else "pairs", folder)
    held = load("unseen-labelled" if kind == "kto" else "unseen-pairs", folder)
    trainer = prepare(kind, data, config, folder, tok, peft_config=peft, callbacks=[trace], eval_dataset=held)
    if lora:
        sft.save_init(trainer.model, OUT / f"{name}-init")
    plain = {**config, "maxLength": 512}
    other = "sigmoid" if kind == "kto" else kind
    unseen = tokenized(prepare(other, load("unseen-pairs", folder), plain, folder, tok).train_dataset)
    with contextlib.redirect_stdout(io.StringIO()):  # the trainer prints each log
        trainer.train()
        trainer.evaluate()
    whole = tokenized(trainer.train_dataset if config["maxLength"] == 512 else prepare(kind, data, plain, folder, tok).train_dataset)
    if kind == "kto":
        rows = f"labelled-{config['batch']['rows']}"
    if config["maxLength"] == 512:
        write_json(OUT / f"{rows}.json", {"versions": versions("trl"), "rows": whole, "unseen": tokenized(trainer.eval_dataset)})
    first, last = trace.steps[0]["loss"], trace.steps[-1]["loss"]
    print(f"  {name}: loss {first:.4f} → {last:.4f}, gradient norm {trace.steps[0]['grad_norm']:.3f} → {trace.steps[-1]['grad_norm']:.3f}")
    small = abs(last - first) < abs(first) * (0.2 if kind == "nca_pair" else 1 / 3)  # its infimum is 0.69 of where it starts
    write_json(OUT / f"{name}.json", {
        "versions": versions("trl", "peft"), "config": config, "rows": rows, "dropped": len(whole) - len(trainer.train_dataset),
        "steps": trace.steps, "eval": trace.evaluations[0], "unseen": {"margin": f32(margin(trainer.model.eval(), unseen, config, kind))}})
    return [f"{name}: the loss goes from {first} to {last} only"] if small else []


if __name__ == "__main__":
    datasets.disable_progress_bars()
    write_rows()
    with tempfile.TemporaryDirectory() as scratch:
        small = []
        for name, overrides in TRACES.items():
            if not sys.argv[1:] or name in sys.argv[1:]:
                small += run(name, overrides, scratch)
    sys.exit("\n".join(small) or None)  # an empty text would be a failure
