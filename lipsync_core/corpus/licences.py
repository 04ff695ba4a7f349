"""Licences of clips and weights: which allow commercial use, and refusing those that do not. Light.

A licence is a text, best an SPDX name (https://spdx.org/licenses). What is not known to allow
commercial use counts as forbidding it. This is bookkeeping, not legal advice.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from lipsync_core.config import Config
from lipsync_core.corpus.clips import Clip
from lipsync_core.corpus.collection import Corpus
from lipsync_core.errors import LipsyncError
from lipsync_core.pretrained import (
    EXPERT_WEIGHTS,
    KNOWN_WEIGHTS,
    LSE_WEIGHTS,
    S3FD_WEIGHTS,
    find_weights,
    syncnet_start,
)

CARD = "model_card.json"
SYNC_LOSS = "generator.syncnet"  # key of the weights of the sync loss
FORBIDDEN = re.compile(r"\bNC\b|non-?commercial|research|academic|personal|evaluation only", re.I)
# Public-domain marks, permissive and share-alike licences; "own" and "commercial" are the user's
# word for recordings of their own and for a contract.
ALLOWED = re.compile(
    r"(own|commercial|public domain|PDDL|CC0|CC[- ]BY|ODC-By|ODbL|MIT|Apache|BSD|ISC|Unlicense"
    r"|CDLA-Permissive)\b.*",
    re.I,
)


def allows_commercial(licence: str) -> bool:
    """Whether a licence is known to allow commercial use; False for "" and for unknown texts."""
    return bool(ALLOWED.match(licence.strip())) and not FORBIDDEN.search(licence)


def check_clips(clips: Iterable[Clip], corpora: Iterable[Corpus]) -> None:
    """Raise LipsyncError when a clip's licence does not allow commercial use."""
    labels = {corpus.name: corpus.label for corpus in corpora}
    refused = Counter(
        (clip.corpus, clip.licence) for clip in clips if not allows_commercial(clip.licence)
    )
    if not refused:
        return
    (name, licence), count = refused.most_common(1)[0]
    if licence:
        why, remedy = f"are under {licence!r}", "remove the corpus"
    else:
        why = "have no known licence"
        remedy = 'state their `licence` (such as CC-BY-4.0, or "own")'
    raise LipsyncError(
        f"licences: commercial: {count} clips of {labels[name]} {why}; {remedy}, or set "
        "`licences: any`"
    )


def check_weights(weights: Mapping[str, str]) -> None:
    """Raise LipsyncError, naming the file, when weights do not allow commercial use.

    weights: see `weights_of`.
    """
    for key, path in weights.items():
        licence = weights_licence(path)
        if not allows_commercial(licence):
            why = f"are under {licence!r}" if licence else "have no known licence"
            raise LipsyncError(
                f"licences: commercial: the weights {path} (`{key}`) {why}; use others (of your "
                f"own, with their {CARD} beside them), or set `licences: any`"
            )


def weights_of(config: Config, detector: str) -> dict[str, str]:
    """Config key -> weight file of all that a run reads; detector: the resolved one.

    The bundled CenterFace (MIT) is not among them, nor are networks that the run itself trains.
    """
    start = syncnet_start(config.syncnet.pretrained)
    found = {"syncnet.pretrained": start, "sync.model": config.sync.model}
    if config.track.select == "active_speaker" and not config.sync.model:
        found["track.select"] = str(Path(config.models) / LSE_WEIGHTS)
    if detector == "s3fd":
        found["detector"] = str(Path(config.models) / S3FD_WEIGHTS)
    public = find_weights(EXPERT_WEIGHTS, config.models)
    if config.generator.syncnet == "public" or (config.generator.syncnet == "best" and public):
        found[SYNC_LOSS] = str(public or Path(config.models) / EXPERT_WEIGHTS)
    for variant in config.generator.variants:
        for key in ("pretrained", "disc_pretrained"):
            found[f"generator.{variant}.{key}"] = getattr(config.generator.variant(variant), key)
    for number, entry in enumerate(config.dub):
        found[f"dub[{number}].checkpoint"] = entry.checkpoint
    trained = {"wav2lip", "wav2lip_gan"}  # a variant's name, not a file
    return {key: path for key, path in found.items() if path and path not in trained}


def weights_licence(path: str | Path) -> str:
    """The licence of a weight file: of public ones, or by the model card beside it; else ""."""
    path = Path(path)
    if path.name in KNOWN_WEIGHTS:
        return KNOWN_WEIGHTS[path.name].licence
    card = path.with_name(CARD)
    if not card.is_file():
        return ""
    try:
        return str(json.loads(card.read_text(encoding="utf-8"))["licence"])
    except (ValueError, KeyError, TypeError) as error:
        raise LipsyncError(f"{card}: not a model card ({error}); correct or remove it") from error


def combined(licences: Iterable[str]) -> str:
    """One licence for what is made of several: theirs, joined; "" if one of them is not known."""
    parts = sorted(set(licences))
    forbidding = [part for part in parts if not allows_commercial(part)]
    return " AND ".join(forbidding or parts) if all(parts) else ""
