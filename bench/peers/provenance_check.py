"""Reads a model card, a BOM and signed provenance as their own ecosystems do: provenance_check.py DIR PUBLIC_KEY.

DIR is a folder that hone export wrote. Prints one JSON object; whatever a library refuses is an exception.
"""

import json
import pathlib
import sys

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from huggingface_hub import ModelCard
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

folder, public = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])

card = ModelCard.load(folder / "README.md")
results = [[r.dataset_name, r.metric_type, r.metric_value] for r in card.data.eval_results or []]

key = SSlibKey.from_crypto(load_pem_public_key(public.read_bytes()))
statements = []
for line in (folder / "provenance.intoto.jsonl").read_bytes().splitlines():
    envelope = Envelope.from_dict(json.loads(line))
    (key.keyid,) = envelope.signatures  # the library wants this name to be equal too, which DSSE does not (its issue 416)
    envelope.verify([key], threshold=1)
    statements.append(json.loads(envelope.payload))

json.dump(
    {
        "base_model": card.data.base_model,
        "relation": card.data.base_model_relation if "base_model_relation" in card.data.to_dict() else None,
        "library": card.data.library_name,
        "license": card.data.license,
        "tags": card.data.tags,
        "results": results,
        "text": card.text.strip().splitlines()[0],
        "statements": [s["predicate"]["buildDefinition"]["externalParameters"]["kind"] for s in statements],
        "files": [s["name"] for s in statements[0]["subject"]],
    },
    sys.stdout,
)
