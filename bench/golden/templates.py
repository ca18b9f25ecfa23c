"""What transformers makes of chat templates: internal/chat/testdata/{trl,*.json}.

usage: templates.py [FOLDER...]   templates of further folders are rendered too and written to renders-FOLDER.json
                                  in the working folder, to compare with before a release; none of them is committed

trl/               the chat templates of the TRL wheel, as they are (Apache-2.0, see NOTICE there)
conversations.json the inputs: messages, tools, generation prompt, further variables
renders.json       template → a line a conversation: hash of the text, and of the spans of {% generation %} blocks (bytes)
                   where there are any; "raised HASH" where the template raised, with the hash of its message;
                   "error" where Python raised
samples.json       some of the texts in full, for reading
expressions.json   pieces of Jinja, each with what it renders to
"""

import datetime
import hashlib
import json
import pathlib
import sys

from common import INTERNAL, versions

import jinja2
import trl
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils as utils

from templates_conversations import CONVERSATIONS
from templates_expressions import EXPRESSIONS

OUT = INTERNAL / "chat" / "testdata"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
DATE = datetime.datetime(2026, 1, 1)


class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return DATE


utils.datetime = Frozen


def short(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def render(tokenizer, source, case):
    """The text and its marked spans in bytes, or the exception."""
    try:
        return spans(tokenizer, source, case)
    except RecursionError:
        raise
    except Exception as e:  # noqa: BLE001 - whatever Python raises is an error of the render
        return e


def spans(tokenizer, source, case):
    seen = {}
    original = utils._render_with_assistant_indices

    def keep(**kwargs):
        seen["spans"] = original(**kwargs)[1]
        return original(**kwargs)

    options = dict(
        conversation=case["messages"], tools=case.get("tools"), chat_template=source,
        add_generation_prompt=case.get("generation_prompt", False), tokenize=False, **case.get("vars", {}),
    )
    text = tokenizer.apply_chat_template(**options)
    if "generation" not in source:
        return text, []
    # apply_chat_template demands tokens for a mask, so the spans are taken from the function below it.
    utils._render_with_assistant_indices = keep
    try:
        messages = [{k: v for k, v in m.items() if v is not None} for m in case["messages"]]
        utils.render_jinja_template(
            conversations=[messages], tools=case.get("tools"), chat_template=source, return_assistant_tokens_mask=True,
            add_generation_prompt=case.get("generation_prompt", False), **{**TOKENS, **case.get("vars", {})},
        )
    finally:
        utils._render_with_assistant_indices = original
    return text, [[len(text[:a].encode()), len(text[:b].encode())] for a, b in seen["spans"]]


def entry(result):
    if isinstance(result, Exception):
        if type(result) is jinja2.exceptions.TemplateError:
            return "raised " + short(str(result))
        return "error"
    text, marked = result
    return short(text) + (" " + short(json.dumps(marked)) if marked else "")


def expressions(tokenizer):
    out = []
    for source in EXPRESSIONS:
        case = {"messages": [{"role": "user", "content": "hi"}], "vars": {
            "s": "Hello, Wörld ", "n": 7, "f": 2.5, "none": None, "t": True, "big": 12345678901234567890,
            "l": [3, 1, 2], "d": {"b": 1, "a": [1, 2.0, None, True, "x'y"], "é": "\u2028"}, "e": "",
            "people": [{"name": "Bo", "age": 3}, {"name": "al", "age": 1, "x": {"y": 1}}, {"name": "Cy", "age": 3}],
        }}
        result = render(tokenizer, source, case)
        out.append({"source": source, "text": None if isinstance(result, Exception) else result[0]})
        if isinstance(result, Exception):
            out[-1]["error"] = type(result).__name__
    return out


def main():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0})), **TOKENS)
    wheel = pathlib.Path(trl.__file__).parent / "chat_templates"
    (OUT / "trl").mkdir(parents=True, exist_ok=True)
    renders, samples = {}, {}
    for path in sorted(wheel.glob("*.jinja")):
        source = path.read_bytes()
        (OUT / "trl" / path.name).write_bytes(source)
        results = [render(tokenizer, source.decode(), case) for case in CONVERSATIONS]
        renders[path.name] = [entry(r) for r in results]
        at = len(renders) % len(results)
        if not isinstance(results[at], Exception):
            samples[path.name] = {"conversation": CONVERSATIONS[at]["name"], "text": results[at][0]}
    dump(OUT / "conversations.json", {"date": DATE.date().isoformat(), "tokens": TOKENS, "conversations": CONVERSATIONS})
    dump(OUT / "renders.json", {"versions": versions("trl", "jinja2"), "renders": renders})
    dump(OUT / "samples.json", samples)
    dump(OUT / "expressions.json", expressions(tokenizer))
    for folder in map(pathlib.Path, sys.argv[1:]):
        dump(pathlib.Path(f"renders-{folder.name}.json"), {"renders": {
            path.name: [entry(render(tokenizer, path.read_bytes().decode(), case)) for case in CONVERSATIONS]
            for path in sorted(folder.glob("*.jinja"))
        }})


def dump(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


main()
