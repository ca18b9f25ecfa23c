"""GRPO traces by TRL on the toy model, with the completions fixed: what each optimiser step reports.

usage: grpo.py [NAME...]    after rows.py; writes stages/model/testdata/grpo/NAME.json and, for LoRA,
                            stages/model/testdata/grpo/NAME-init/: PEFT's own A (and B = 0) before the first step

NAME.json
  config    the fields of train.grpo, under hone's names
  prompts   of each: its token ids, and the completions that stand in for sampled ones, with their rewards
  steps     loss, grad_norm (before clipping), learning_rate and TRL's metrics
  unseen    mean negative log-likelihood per trained token of unseen.jsonl after the last step, and those rows

The completions are drawn once, not by the model: the traces hold the loss, not the sampler. Differences from TRL's defaults: rows in
order, completions too (TRL deals those of a step to its micro-batches by torch's generator), no dropout, float32.
"""

import contextlib
import io
import random
import sys
import tempfile

import datasets
import torch
import trl.trainer.grpo_trainer as grpo_trainer
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import GRPOConfig, GRPOTrainer

import sft
from common import ROOT, versions, write_json

OUT = ROOT / "stages" / "model" / "testdata" / "grpo"
WEIGHTS = {"close": 1.0, "short": 0.5}
GENERATIONS, PROMPTS = 4, 6

# Fields that a trace leaves out stand at these values.
BASE = {"learningRate": 4e-3, "maxSteps": 12, "batch": {"rows": 2, "accumulate": 1}, "clip": 1, "seed": 0, "shuffle": False, "loss": "grpo",
        "ratio": "token", "beta": 0.0, "epsilon": 0.2, "epsilonHigh": 0.2, "iterations": 2, "scaleRewards": "group", "maskTruncated": False,
        "temperature": 1.0, "generations": GENERATIONS, "maxNewTokens": 10}

TRACES = {
    "grpo": {"beta": 0.04},
    "grpo-on-policy": {"iterations": 1, "beta": 0.5, "temperature": 0.7},
    "bnpo": {"loss": "bnpo", "batch": {"rows": 1, "accumulate": 2}, "scaleRewards": "none"},
    "dr_grpo": {"loss": "dr_grpo", "scaleRewards": "none", "maskTruncated": True, "iterations": 3},
    "dapo": {"loss": "dapo", "epsilonHigh": 0.28, "batch": {"rows": 1, "accumulate": 2}, "maskTruncated": True, "temperature": 1.2},
    "cispo": {"loss": "cispo", "epsilonHigh": 1.3, "scaleRewards": "batch"},
    "gspo": {"ratio": "sequence", "epsilon": 0.05, "epsilonHigh": 0.08, "beta": 0.02, "maskTruncated": True},
    "lora": {"loss": "dapo", "beta": 0.1, "learningRate": 2e-2, "lora": {"rank": 8, "alpha": 16, "targets": "all-linear"}},
}


def prompts():
    """Conversations of the training rows, each with completions and their rewards. One group's rewards are all equal."""
    rows = datasets.load_dataset("json", data_files=str(sft.DATA / "messages.jsonl"), split="train")
    tok = AutoTokenizer.from_pretrained(sft.DATA / "toy")
    draw = random.Random(5)
    out = []
    for k, row in enumerate(rows.select(range(PROMPTS))):
        turns = row["messages"][:-1]
        ids = tok.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
        completions = []
        for i in range(GENERATIONS):
            length = 10 if i == 1 else draw.randrange(2, 10)  # the second is cut off at maxNewTokens
            tokens = [draw.randrange(3, len(tok)) for _ in range(length)]
            if i != 1:
                tokens[-1] = tok.eos_token_id
            completions.append({"ids": tokens, "rewards": {"close": 0.5 if k == 3 else draw.choice([0.0, 0.25, 1.0]), "short": 0.0 if k == 3 else draw.choice([0.0, 1.0])}})
        out.append({"prompt": turns, "ids": list(ids), "completions": completions})
    return out


def settings(config, out):
    rows = config["batch"]["rows"] * GENERATIONS  # TRL counts completions
    return GRPOConfig(
        output_dir=out, learning_rate=config["learningRate"], max_steps=config["maxSteps"], per_device_train_batch_size=rows,
        gradient_accumulation_steps=config["batch"]["accumulate"], max_grad_norm=config["clip"], seed=config["seed"], shuffle_dataset=False,
        num_generations=GENERATIONS, max_completion_length=config["maxNewTokens"], temperature=config["temperature"], loss_type=config["loss"],
        importance_sampling_level=config["ratio"], beta=config["beta"], epsilon=config["epsilon"], epsilon_high=config["epsilonHigh"],
        num_iterations=config["iterations"], scale_rewards=config["scaleRewards"], mask_truncated_completions=config["maskTruncated"],
        reward_weights=list(WEIGHTS.values()), bf16=False, gradient_checkpointing=False, use_cpu=True, dataloader_pin_memory=False,
        logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True)


class Trace(sft.Trace):
    """Collects TRL's metrics of online RL in place of those of SFT."""

    own = False

    def on_log(self, args, state, control, logs=None, **more):
        super().on_log(args, state, control, logs=logs, **more)
        if "loss" in logs:
            kept = ("reward", "frac_reward_zero_std", "kl", "entropy", "clip_ratio/", "cispo_clip_ratio", "completions/")
            self.steps[-1]["metrics"] = {k: sft.f32(v) for k, v in logs.items() if k.startswith(kept)}


class Fixed(GRPOTrainer):
    """Takes the next of a prompt's completions where TRL would sample one."""

    def __init__(self, groups, **more):
        super().__init__(**more)
        self.groups = {tuple(g["ids"]): [c["ids"] for c in g["completions"]] for g in groups}

    def _generate_single_turn(self, prompt_ids, *_, **__):
        seen, out = {}, []
        for ids in map(tuple, prompt_ids):
            out.append(self.groups[ids][seen.setdefault(ids, 0)])
            seen[ids] += 1
        return out, None


def rewards(groups):
    table = {tuple(c["ids"]): c["rewards"] for g in groups for c in g["completions"]}

    def made(name):
        def score(completion_ids, **_):
            return [table[tuple(ids)][name] for ids in completion_ids]

        score.__name__ = name
        return score

    return [made(name) for name in WEIGHTS]


def run(name, overrides, folder):
    config = {**BASE, **overrides}
    set_seed(0)
    groups = prompts()
    tok = AutoTokenizer.from_pretrained(sft.DATA / "toy")
    model = AutoModelForCausalLM.from_pretrained(sft.DATA / "toy", dtype=torch.float32)
    lora = config.get("lora")
    peft = lora and LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], target_modules=lora["targets"], lora_dropout=0.0, task_type="CAUSAL_LM")
    trace = Trace()
    trainer = Fixed(groups, model=model, args=settings(config, folder), processing_class=tok, peft_config=peft, callbacks=[trace],
                    reward_funcs=rewards(groups), train_dataset=datasets.Dataset.from_list([{"prompt": g["prompt"]} for g in groups]))
    if lora:
        sft.save_init(trainer.model, OUT / f"{name}-init")
    with contextlib.redirect_stdout(io.StringIO()):  # the trainer prints each log
        trainer.train()
    write_json(OUT / f"{name}.json", {
        "versions": versions("trl", "peft"), "config": config, "weights": WEIGHTS,
        "prompts": [{k: v for k, v in g.items() if k != "prompt"} for g in groups],
        "steps": trace.steps, "unseen": sft.unseen(trainer, {**sft.BASE, "loss": "all"}, tok, folder)})
    seen = [{"loss": s["loss"], "grad_norm": s["grad_norm"], **s["metrics"]} for s in trace.steps]
    for metric in ("loss", "grad_norm", "kl", "clip_ratio/region_mean", "cispo_clip_ratio"):
        if metric in seen[0]:
            print(f"  {metric}", *(f"{s[metric]:.4f}" for s in seen))
    norms = [s["grad_norm"] for s in seen]
    assert min(norms) < max(norms) * 2 / 3, f"{name}: the gradient norm hardly moves"


if __name__ == "__main__":
    datasets.disable_progress_bars()
    grpo_trainer.shuffle_sequence_dict = lambda batch: batch
    with tempfile.TemporaryDirectory() as scratch:
        for name, overrides in TRACES.items():
            if not sys.argv[1:] or name in sys.argv[1:]:
                run(name, overrides, scratch)
