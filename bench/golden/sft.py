"""SFT traces by TRL on the toy model: what each optimiser step reports, and the loss of unseen rows after the last.

usage: sft.py [NAME...]     after rows.py; writes internal/train/testdata/sft/NAME.json and, for LoRA,
                            internal/train/testdata/sft/NAME-init/: PEFT's own A (and B = 0) before the first step

NAME.json
  config    the fields of train.sft, under hone's names
  data      the rows' file beside the folder
  rows      what is trained, in order: token ids, and 1 for each token that is trained (as a label, before the shift)
  dropped   rows of the file that TRL drops, since truncation leaves nothing to train
  bins      where TRL packed: the rows that it put together, in the order of its batches
  steps     loss, grad_norm (before clipping), learning_rate (of this step's update), entropy, mean_token_accuracy and num_tokens, as
            TRL logs them
  evaluations  eval_loss, eval_entropy and eval_mean_token_accuracy of the rows of unseen, after the steps that have them
  unseen    mean negative log-likelihood per trained token of unseen.jsonl after the last step, and those rows
            (in bfloat16 traces the trainer's autocast is still on)

Differences from TRL's defaults: no shuffle, no dropout, no gradient checkpointing, float32 where the config says so.
"""

import contextlib
import io
import re
import shutil
import sys
import tempfile

import datasets
import torch
from peft import LoraConfig
from peft.optimizers import create_loraplus_optimizer
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from common import INTERNAL, f32, save_adapter, versions, write_json

DATA = INTERNAL / "train" / "testdata"
LORA = {"rank": 8, "alpha": 16, "targets": "all-linear"}

# Fields that a trace leaves out stand at these values.
BASE = {"learningRate": 4e-3, "batch": {"rows": 4, "accumulate": 1}, "maxLength": 512, "schedule": {"kind": "linear", "warmup": 0, "minimum": 0},
        "optimizer": {"kind": "adamw", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weightDecay": 0},
        "clip": 1, "seed": 0, "shuffle": False, "dtype": "float32", "loss": "all", "packing": False}

TRACES = {
    # 40 rows by 4: the eleventh step begins the second time round.
    "full": ("messages", {"maxSteps": 14}),
    "full-bfloat16": ("messages", {"maxSteps": 14, "dtype": "bfloat16"}),
    "lora": ("messages", {"maxSteps": 14, "learningRate": 2e-2, "lora": LORA}),
    # Rounding is noise that a high rate amplifies: at 2e-2 TRL's own traces on two processors are a hundredth apart.
    "lora-bfloat16": ("messages", {"maxSteps": 20, "learningRate": 8e-3, "lora": LORA, "dtype": "bfloat16"}),
    # LoRA+, with decay: each factor's is a share of its own rate.
    "lora-plus": ("messages", {"maxSteps": 14, "learningRate": 4e-3, "optimizer": {**BASE["optimizer"], "weightDecay": 0.1},
                               "lora": {**LORA, "learningRateRatio": 8}}),
    # A matrix is a part of ours where its q, k and v are one; norms do not decay.
    "adafactor": ("messages", {"maxSteps": 14, "optimizer": {**BASE["optimizer"], "kind": "adafactor", "weightDecay": 0.1}}),
    "lion": ("messages", {"maxSteps": 14, "learningRate": 2e-3, "optimizer": {**BASE["optimizer"], "kind": "lion", "beta2": 0.99, "weightDecay": 0.5}}),
    "muon": ("messages", {"maxSteps": 14, "learningRate": 8e-3, "optimizer": {**BASE["optimizer"], "kind": "muon", "momentum": 0.95, "weightDecay": 0.1}}),
    # Its factors are matrices between layers too.
    "lora-muon": ("messages", {"maxSteps": 14, "learningRate": 4e-2, "optimizer": {**BASE["optimizer"], "kind": "muon", "momentum": 0.95}, "lora": LORA}),
    "lora-adafactor": ("messages", {"maxSteps": 14, "learningRate": 2e-2, "optimizer": {**BASE["optimizer"], "kind": "adafactor"}, "lora": LORA}),
    "wsd": ("texts", {"maxSteps": 20, "loss": "completion", "schedule": {"kind": "wsd", "warmup": 3, "minimum": 0.1, "decay": 5}}),
    # DoRA: its magnitudes decay too, and in LoRA+ they learn as B does.
    "lora-dora": ("messages", {"maxSteps": 14, "learningRate": 2e-2, "optimizer": {**BASE["optimizer"], "weightDecay": 0.1}, "lora": {**LORA, "dora": True}}),
    "lora-dora-plus": ("turns", {"maxSteps": 16, "learningRate": 1e-2, "loss": "assistant", "optimizer": {**BASE["optimizer"], "weightDecay": 0.1},
                                 "lora": {"rank": 4, "alpha": 8, "targets": ["q_proj", "v_proj", "down_proj"], "dora": True, "learningRateRatio": 8}}),
    "lora-dora-bfloat16": ("messages", {"maxSteps": 20, "learningRate": 8e-3, "lora": {**LORA, "dora": True}, "dtype": "bfloat16"}),
    # QLoRA: bitsandbytes holds the base. TRL casts such an adapter to bfloat16; here it is float32, as PEFT has it.
    "qlora": ("messages", {"maxSteps": 14, "learningRate": 2e-2, "lora": {**LORA, "quantize": "nf4"}}),
    "qlora-double-dora": ("turns", {"maxSteps": 14, "learningRate": 2e-2, "loss": "assistant",
                                    "lora": {**LORA, "quantize": "nf4", "doubleQuantize": True, "dora": True}}),
    "qlora-bfloat16": ("messages", {"maxSteps": 20, "learningRate": 8e-3, "lora": {**LORA, "quantize": "nf4", "doubleQuantize": True}, "dtype": "bfloat16"}),
    "lora-rslora": ("turns", {"maxSteps": 16, "learningRate": 4e-2, "loss": "assistant",
                              "lora": {"rank": 4, "alpha": 8, "targets": ["q_proj", "v_proj", "down_proj"], "rslora": True}}),
    "completion-accumulate": ("completions", {"maxSteps": 14, "loss": "completion", "batch": {"rows": 2, "accumulate": 2}}),
    # Warm-up as a share of the steps; a cosine that ends above zero; decay and a clip that both bite.
    "text-cosine": ("texts", {"maxSteps": 20, "learningRate": 6e-3, "loss": "completion", "schedule": {"kind": "cosine", "warmup": 0.15, "minimum": 0.1},
                              "optimizer": {**BASE["optimizer"], "weightDecay": 0.1, "beta2": 0.95}, "clip": 0.5}),
    "assistant-turns": ("turns", {"maxSteps": 14, "loss": "assistant"}),
    # 24 rows by 5 × 2: an epoch is three steps, of 10, 10 and 4 rows.
    "epochs-ragged": ("turns", {"epochs": 4, "loss": "assistant", "batch": {"rows": 5, "accumulate": 2},
                                "schedule": {"kind": "constant", "warmup": 2, "minimum": 0}}),
    "dft": ("messages", {"maxSteps": 14, "objective": "dft", "learningRate": 6e-3}),
    # All but the last layer stands still, and of that one projection of those that are one matrix of ours.
    "freeze": ("messages", {"maxSteps": 14, "learningRate": 1e-2, "optimizer": {**BASE["optimizer"], "weightDecay": 0.1},
                            "freeze": {"layers": 1, "parameters": ["k_proj", "^model\\.norm"]}}),
    "packed": ("messages", {"maxSteps": 10, "packing": True, "maxLength": 160, "batch": {"rows": 1, "accumulate": 2}}),
    "evaluated": ("messages", {"maxSteps": 14, "eval": {"data": "unseen", "every": 4, "batch": 3}}),
    "truncated": ("turns", {"maxSteps": 10, "loss": "assistant", "maxLength": 40}),
}


def settings(config, out):
    schedule, optimizer, batch = config["schedule"], config["optimizer"], config["batch"]
    kind, more = schedule["kind"], None
    if kind == "constant" and schedule["warmup"]:
        kind = "constant_with_warmup"
    if kind == "cosine" and schedule["minimum"]:
        kind, more = "cosine_with_min_lr", {"min_lr_rate": schedule["minimum"]}
    if kind == "wsd":
        kind, more = "warmup_stable_decay", {"num_decay_steps": schedule["decay"], "min_lr_ratio": schedule["minimum"]}
    evaluation = config.get("eval")
    return SFTConfig(
        eval_strategy="steps" if evaluation else "no", eval_steps=evaluation and evaluation["every"],
        per_device_eval_batch_size=evaluation["batch"] if evaluation else 8,
        output_dir=out, learning_rate=config["learningRate"], max_steps=config.get("maxSteps", -1), num_train_epochs=config.get("epochs", 3),
        per_device_train_batch_size=batch["rows"], gradient_accumulation_steps=batch["accumulate"], max_length=config["maxLength"],
        lr_scheduler_type=kind, lr_scheduler_kwargs=more, warmup_steps=schedule["warmup"],
        optim="adafactor" if optimizer["kind"] == "adafactor" else "adamw_torch_fused", adam_beta1=optimizer["beta1"], adam_beta2=optimizer["beta2"], adam_epsilon=optimizer["epsilon"],
        weight_decay=optimizer["weightDecay"], max_grad_norm=config["clip"], seed=config["seed"],
        assistant_only_loss=config["loss"] == "assistant", completion_only_loss=config["loss"] == "completion", packing=config["packing"],
        loss_type=config.get("objective", "nll"),
        bf16=config["dtype"] == "bfloat16", gradient_checkpointing=False, train_sampling_strategy="sequential", use_cpu=True,
        dataloader_pin_memory=False, logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True)


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, algorithm 2. Neither torch nor transformers has it on a CPU."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                direction = (beta1 * momentum + (1 - beta1) * p.grad).sign()
                p -= group["lr"] * (direction + group["weight_decay"] * p)
                momentum.copy_(beta2 * momentum + (1 - beta2) * p.grad)


class Muon(torch.optim.Optimizer):
    """torch's Muon on the matrices between layers, and torch's AdamW on all else, with one list of groups for the schedule."""

    def __init__(self, hidden, rest, momentum, **adamw):
        self.parts = [torch.optim.Muon(hidden, lr=adamw["lr"], momentum=momentum, adjust_lr_fn="match_rms_adamw")]
        if any(group["params"] for group in rest):
            self.parts.append(torch.optim.AdamW(rest, **adamw))
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    def step(self, closure=None):
        rates = iter([group["lr"] for group in self.param_groups])  # accelerate gives the wrapper groups of its own
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = next(rates)
            part.step()


def optimizer_of(trainer, config):
    """What the Trainer does not make by itself; its groups decay as the Trainer's do."""
    o, lr = config["optimizer"], config["learningRate"]
    decaying = trainer.get_decay_parameter_names(trainer.model)
    trained = [(n, p) for n, p in trainer.model.named_parameters() if p.requires_grad]

    def groups(named):
        return [{"params": [p for n, p in named if (n in decaying) == d], "weight_decay": o["weightDecay"] if d else 0.0} for d in (True, False)]

    betas = (o["beta1"], o["beta2"])
    if o["kind"] == "lion":
        return Lion(groups(trained), {"lr": lr, "betas": betas})
    hidden = [(n, p) for n, p in trained if p.ndim == 2 and "embed_tokens" not in n and "lm_head" not in n]
    names = {n for n, _ in hidden}
    return Muon([{"params": [p for _, p in hidden], "weight_decay": o["weightDecay"]}], groups([x for x in trained if x[0] not in names]),
                o["momentum"], lr=lr, betas=betas, eps=o["epsilon"])


def quantization(lora):
    """What from_pretrained takes for QLoRA. The layers compute in the dtype of their input: float32, or what autocast makes of it."""
    if "quantize" not in lora:
        return {}
    import bitsandbytes

    # In evaluation on such processors its layers would compute in bfloat16, whatever their input.
    bitsandbytes.nn.modules.has_avx512bf16 = lambda: False
    return {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=lora["quantize"], bnb_4bit_compute_dtype=torch.float32,
                                                      bnb_4bit_use_double_quant=lora.get("doubleQuantize", False)),
            "device_map": {"": "cpu"}}


class Trace(TrainerCallback):
    """Collects what TRL logs, and the rate that the optimiser really used."""

    own = True  # the trainer logs entropy, accuracy and tokens of what is trained

    def __init__(self):
        self.steps, self.evaluations, self.rate = [], [], None

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **_):
        self.rate = optimizer.param_groups[0]["lr"]

    def on_log(self, args, state, control, logs=None, **_):
        if "eval_loss" in logs:
            self.evaluations.append({"step": state.global_step, **{n: f32(logs[f"eval_{n}"]) for n in ("loss", "entropy", "mean_token_accuracy")}})
        if "loss" in logs:
            assert abs(logs["learning_rate"] - self.rate) < 1e-12
            self.steps.append({"step": state.global_step, "loss": float(logs["loss"]), "grad_norm": float(logs["grad_norm"]),
                               "learning_rate": self.rate, "epoch": logs["epoch"]})
            if self.own:
                self.steps[-1] |= {"entropy": f32(logs["entropy"]), "mean_token_accuracy": f32(logs["mean_token_accuracy"]), "num_tokens": logs["num_tokens"]}


def tokenized(dataset):
    """Ids and mask of each row as TRL made them; without labels every token is trained."""
    rows = []
    for row in dataset:
        labels = row.get("labels") or row["input_ids"]
        rows.append({"ids": list(row["input_ids"]), "trained": [int(label != -100) for label in labels]})
    return rows


def unpacked(bins, lengths):
    """The rows that TRL packed, and which of them share a bin."""
    rows, numbers = [], []
    for packed, each in zip(bins, lengths, strict=True):
        numbers.append(list(range(len(rows), len(rows) + len(each))))
        at = 0
        for n in each:
            rows.append({key: packed[key][at:at + n] for key in ("ids", "trained")})
            at += n
    return rows, numbers


def unseen(trainer, config, tok, folder):
    """The rows that training did not see, prepared as the training rows are, and their loss."""
    data = datasets.load_dataset("json", data_files=str(DATA / "unseen.jsonl"), split="train", cache_dir=folder)
    loss = "all" if config["loss"] == "all" else "assistant"
    other = SFTTrainer(model=AutoModelForCausalLM.from_pretrained(DATA / "toy"), train_dataset=data, processing_class=tok,
                       args=settings({**BASE, "loss": loss}, folder))
    rows = tokenized(other.train_dataset)
    total = count = 0.0
    model = trainer.model.eval()
    for row in rows:
        ids = torch.tensor([row["ids"]])
        with torch.no_grad():
            scores = torch.log_softmax(model(ids).logits[0, :-1].double(), -1)
        keep = torch.tensor(row["trained"][1:], dtype=torch.bool)
        total -= scores.gather(1, ids[0, 1:, None])[keep].sum().item()
        count += keep.sum().item()
    return {"data": "unseen", "loss": f32(total / count), "tokens": int(count), "rows": rows}


def run(name, data, overrides, folder):
    config = {**BASE, **overrides}
    set_seed(0)
    tok = AutoTokenizer.from_pretrained(DATA / "toy")
    model = AutoModelForCausalLM.from_pretrained(DATA / "toy", dtype=torch.float32, **quantization(config.get("lora") or {}))
    if freeze := config.get("freeze"):
        for n, p in model.named_parameters():
            layer = re.match(r"model\.layers\.(\d+)\.", n)
            if "embed_tokens" in n or layer and int(layer[1]) < freeze["layers"] or any(re.search(x, n) for x in freeze["parameters"]):
                p.requires_grad = False
    lora = config.get("lora")
    if lora and "quantize" not in lora and config["dtype"] == "bfloat16":  # a frozen base is held in bfloat16, as its checkpoint would be
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(p.bfloat16())
    peft = lora and LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], target_modules=lora["targets"], lora_dropout=0.0,
                               use_rslora=lora.get("rslora", False), use_dora=lora.get("dora", False), task_type="CAUSAL_LM")
    trace = Trace()
    source = datasets.load_dataset("json", data_files=str(DATA / f"{data}.jsonl"), split="train", cache_dir=folder)
    others = "eval" in config and datasets.load_dataset("json", data_files=str(DATA / f"{config['eval']['data']}.jsonl"), split="train", cache_dir=folder)
    trainer = SFTTrainer(model=model, args=settings(config, folder), train_dataset=source, eval_dataset=others or None, processing_class=tok, peft_config=peft, callbacks=[trace])
    if lora:
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        save_init(trainer.model, DATA / "sft" / f"{name}-init")
        if ratio := lora.get("learningRateRatio"):
            o = config["optimizer"]
            trainer.optimizer = create_loraplus_optimizer(
                trainer.model, torch.optim.AdamW, lr=config["learningRate"], loraplus_lr_ratio=ratio, loraplus_weight_decay=o["weightDecay"],
                betas=(o["beta1"], o["beta2"]), eps=o["epsilon"])
    if config["optimizer"]["kind"] in ("lion", "muon"):
        trainer.optimizer = optimizer_of(trainer, config)
    with contextlib.redirect_stdout(io.StringIO()):  # the trainer prints each log
        trainer.train()
    rows, bins = tokenized(trainer.train_dataset), None
    if config["packing"]:
        rows, bins = unpacked(rows, trainer.train_dataset["seq_lengths"])
    first, last = trace.steps[0]["loss"], trace.steps[-1]["loss"]
    # dft's loss, -p·log p, first rises from a p of nothing.
    assert last < first * 2 / 3 or config.get("objective") == "dft" and last > first * 3 / 2, f"{name}: the loss goes from {first} to {last} only"
    write_json(DATA / "sft" / f"{name}.json", {
        "versions": versions("trl", "peft"), "config": config, "data": data, "dropped": len(source) - len(rows), "rows": rows, **({"bins": bins} if bins else {}),
        "steps": trace.steps, **({"evaluations": trace.evaluations} if trace.evaluations else {}), "unseen": unseen(trainer, config, tok, folder)})
    print(f"  loss {first:.4f} → {last:.4f}, gradient norm {trace.steps[0]['grad_norm']:.3f} → {trace.steps[-1]['grad_norm']:.3f}")


def save_init(model, folder):
    shutil.rmtree(folder, ignore_errors=True)
    save_adapter(model, folder)


if __name__ == "__main__":
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as scratch:
        for name, (data, overrides) in TRACES.items():
            if not sys.argv[1:] or name in sys.argv[1:]:
                run(name, data, overrides, scratch)
