"""The claim of a dubbing: that it is synthetic, and by which model. Light.

It is written into the container's metadata, and as a C2PA manifest where the file is signed (see
`media.content_credentials`). `verify` reads both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lipsync_core import __version__
from lipsync_core.media.content_credentials import media_type
from lipsync_core.runtime.files import PathLike, file_sha

# Terms of https://cv.iptc.org/newscodes/digitalsourcetype/ for media that a model made in part, or
# as a whole.
IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
COMPOSITE = f"{IPTC}compositeWithTrainedAlgorithmicMedia"
GENERATED = f"{IPTC}trainedAlgorithmicMedia"
SYNTHETIC_TERMS = frozenset(
    {COMPOSITE, GENERATED, f"{IPTC}algorithmicMedia", f"{IPTC}compositeSynthetic"}
)
MARKED = re.compile(r"synthetic( demo)?: ", re.IGNORECASE)  # the demo's clips, too
STATEMENT = f"synthetic: lip-synced by lipsync {__version__}"
ASSERTION = "lipsync.dubbing"  # the label of our own assertion in a manifest


def make_claim(checkpoint: PathLike) -> dict[str, Any]:
    """What a dubbing by the generator `checkpoint` says about itself, for JSON.

    Returns synthetic (True), digitalSourceType (an IPTC term), software, version, model (the
    checkpoint's name; that of its folder for checkpoint.pth) and model_sha256. It has no date: the
    same inputs give the same file.
    """
    path = Path(checkpoint).absolute()
    return {
        "synthetic": True,
        "digitalSourceType": COMPOSITE,
        "software": "lipsync",
        "version": __version__,
        "model": path.parent.name if path.stem == "checkpoint" else path.stem,
        "model_sha256": file_sha(path),
    }


def tags(claim: Mapping[str, Any]) -> dict[str, str]:
    """Container tags that hold a claim: a sentence for people, then the claim as JSON.

    One tag, `comment`: of all tags it is the one that every container and tool keeps.
    """
    text = json.dumps(claim, sort_keys=True, ensure_ascii=False, separators=(", ", ": "))
    return {"comment": f"{STATEMENT} {text}"}


def parse_comment(comment: str) -> dict[str, Any] | None:
    """The claim in a comment; {"synthetic": True} where it holds the sentence alone; else None."""
    if not MARKED.match(comment):
        return None
    _, brace, rest = comment.partition("{")
    try:
        found = json.loads(brace + rest)
    except (ValueError, RecursionError):
        return {"synthetic": True}  # cut short, or written by others: the sentence says enough
    return found if isinstance(found, dict) else {"synthetic": True}


def make_manifest(
    claim: Mapping[str, Any],
    face: PathLike,
    audio: Sequence[PathLike],
    outfile: PathLike = "result.mp4",
) -> dict[str, Any]:
    """The C2PA manifest of a dubbing, as `media.content_credentials.sign` takes it.

    claim: of `make_claim`. face, audio: the files that it was made from. outfile: tells the format
    by its suffix; LipsyncError for one that cannot be signed. The manifest holds their
    SHA-256 and not their names, which may be private. The date of signing is in it, so that a
    signed file differs from run to run. As in the specification, the face is opened and edited,
    the audio and the model are inputs of the edit.
    """
    sounds = {f"audio {number}": path for number, path in enumerate(audio, start=1)}
    inputs = {name: file_sha(path) for name, path in ({"face": face} | sounds).items()}
    parts = inputs | {f"model {claim['model']}": claim["model_sha256"]}
    ingredients = [
        {
            "label": name,
            "title": name,
            "format": "application/octet-stream",
            "instance_id": f"sha256:{sha}",
            "relationship": "parentOf" if name == "face" else "inputTo",
        }
        for name, sha in parts.items()
    ]
    agent = {"name": claim["software"], "version": claim["version"]}
    shared = {"softwareAgent": agent, "when": datetime.now(UTC).isoformat(timespec="seconds")}
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["face"]}}
    edited = {
        "action": "c2pa.edited",
        "digitalSourceType": claim["digitalSourceType"],
        "description": "The mouth of the face was generated to follow the audio.",
        "parameters": {"ingredientIds": [name for name in parts if name != "face"]},
    }
    return {
        "claim_generator_info": [agent],
        "format": media_type(outfile),
        "ingredients": ingredients,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [opened | shared, edited | shared]}},
            {"label": ASSERTION, "data": dict(claim) | {"inputs_sha256": inputs}},
        ],
    }
