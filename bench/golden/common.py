"""What the golden generators share: where values go, which versions made them, and how they are written.

Every golden names the versions that made it, so that a difference can be told from a change of the reference.
"""

import json
import os
import pathlib

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch  # noqa: E402
import transformers  # noqa: E402

transformers.logging.disable_progress_bar()

ROOT = pathlib.Path(__file__).resolve().parents[2]
INTERNAL = ROOT / "internal"

# One thread: the values then depend on the processor's instruction set alone, and tests compare with a tolerance anyway.
torch.set_num_threads(1)


def versions(*packages):
    """The versions of the packages that make the values, torch always among them."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", *packages)}


def metadata(*packages):
    """The same for a safetensors header: one entry, since several are written in an order that varies."""
    return {"versions": json.dumps(versions(*packages))}


def write_json(path, value):
    """One value as JSON: objects indented, lists of numbers on one line each, floats as they were computed in f32."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_encode(value, "") + "\n")
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.1f} kB")


def _encode(value, indent):
    inner = indent + "  "
    if isinstance(value, dict) and value:
        body = ",\n".join(f"{inner}{json.dumps(k)}: {_encode(v, inner)}" for k, v in value.items())
        return "{\n" + body + "\n" + indent + "}"
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        return "[\n" + ",\n".join(inner + _encode(v, inner) for v in value) + "\n" + indent + "]"
    return json.dumps(value, ensure_ascii=False)


def f32(x):
    """A float as its shortest decimal that reads back as the same f32: smaller files, the same value."""
    import numpy

    return float(str(numpy.float32(float(x))))


def randomise(model, seed):
    """Gives every parameter a value that a forward can tell apart from a forgotten one.

    Matrices are scaled so that logits are of the order of one; norm weights are far from 1 and biases far from 0.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and not name.endswith("bias"):
                parameter.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.3, generator=generator)
            elif "embed_tokens" in name or name.endswith("wte.weight"):
                parameter.normal_(0.0, 0.5, generator=generator)
            else:
                parameter.normal_(0.0, 1.3 / parameter.shape[1] ** 0.5, generator=generator)
    return model


def save_adapter(model, folder):
    """A PEFT folder that is the same on each run: no absolute path, and lists in order (PEFT writes sets)."""
    model.peft_config["default"].base_model_name_or_path = ""
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = {k: sorted(v) if isinstance(v, list) else v for k, v in json.loads(path.read_text()).items()}
    path.write_text(json.dumps(config, indent=2) + "\n")
