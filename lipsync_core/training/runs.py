"""Names of training runs: which state a run may continue from. Light: imports no torch."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lipsync_core.files import digest, file_sha

Options = TypeVar("Options")
VERSION = 2  # of the training code: raise it when old states must not be continued

# Keys that change how a run is watched or where it computes, not what it computes.
BOOKKEEPING = frozenset(
    {"eval_every", "save_every", "keep_every", "workers", "cache_mb", "device", "final"}
)


def run_signature(options: Mapping[str, Any], data_digest: str, seed: int) -> str:
    """Name (16 hex digits) of the runs that may share a state: same options, data and seed.

    options: the section of the config, plus whatever else decides what is computed. Bookkeeping
    keys do not count, but `eval_every` does where evaluations steer the training (the sync loss
    waits for its threshold). `steps` counts only where the schedule depends on it: with a constant
    learning rate and one phase, more steps continue the run (and end as a fresh run would where the
    old end was due for an evaluation anyway).
    """
    kept = {key: value for key, value in options.items() if key not in BOOKKEEPING}
    if "sync_threshold" in options:
        kept["eval_every"] = options.get("eval_every")
    if options.get("schedule") == "constant" and options.get("loss") != "contrastive+bce":
        kept.pop("steps", None)
    return digest({"version": VERSION, "options": kept, "data": data_digest, "seed": seed})[:16]


def data_digest(results: str | Path, weights: Iterable[str | Path] = ()) -> str:
    """Digest (40 hex digits) of what a training reads.

    The lists of training and validation clips, the key of each of those clips in clips.csv, and
    the content of the `weights` files (expert, initial checkpoint).
    """
    lists = Path(results) / "filelists"
    texts = {name: (lists / f"{name}.txt").read_text(encoding="utf-8") for name in ("train", "val")}
    used = {line for text in texts.values() for line in text.splitlines()}
    with open(lists / "clips.csv", encoding="utf-8", newline="") as stream:
        keys = {
            row["clip"]: row.get("key", "") for row in csv.DictReader(stream) if row["clip"] in used
        }
    return digest({"lists": texts, "keys": keys, "weights": [file_sha(path) for path in weights]})


def from_section(kind: type[Options], section: Mapping[str, Any]) -> Options:
    """A dataclass of options from a section of the config; keys of others are left alone."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in section.items() if key in names})
