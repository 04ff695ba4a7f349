"""Training runs: which state a run may continue from, and which old ones go.

Light: imports no torch.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lipsync_core.corpus.filelists import parse
from lipsync_core.runtime.files import digest, file_sha, is_locked, write_text
from lipsync_core.runtime.tables import read_by_clip

log = logging.getLogger(__name__)
Options = TypeVar("Options")
STATE, LOCK, RECORD = "last.pt", ".lock", "run.json"  # in the folder of a run
VERSION = 2  # of the training code: raise it when old states must not be continued

# Keys that change how a run is watched or where it computes, not what it computes.
BOOKKEEPING = frozenset(
    {
        *("eval_every", "save_every", "keep_every", "workers", "cache_mb", "device", "final"),
        *("patience", "rollbacks", "ranks", "compile", "keep_runs", "gate"),
    }
)


def run_signature(options: Mapping[str, Any], data_digest: str, seed: int) -> str:
    """Name (16 hex digits) of the runs that may share a state: those of equal `identity`."""
    return digest(identity(options, data_digest, seed))[:16]


def identity(options: Mapping[str, Any], data_digest: str, seed: int) -> dict[str, Any]:
    """What decides whether a state can be continued: options, data, seed and code.

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
    return {"version": VERSION, "options": kept, "data": data_digest, "seed": seed}


def enter(home: Path, training: str, options: Mapping[str, Any], data: str, seed: int) -> Path:
    """The folder of a run in `home`, where it may find a state to continue from.

    training: its name; two trainings never share a run. The others: see `identity`. Where there is
    no state, but one of an earlier run of this training, the log says what has changed since.
    """
    new = identity({"training": training, **options}, data, seed)
    folder = home / digest(new)[:16]
    if not (folder / STATE).is_file():
        for old in _runs(home, training)[:1]:
            changes = "; ".join(_changes(_record(old), new)) or "nothing that decides"
            log.info("%s: starts afresh; since the run in %s changed: %s", training, old, changes)
    write_text(folder / RECORD, json.dumps(new, indent=1))
    return folder


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    before, after = old["options"], new["options"]
    keys = dict.fromkeys([*after, *before])
    found = [
        f"`{key}` {before.get(key, 'unset')} -> {after.get(key, 'unset')}"
        for key in keys
        if before.get(key) != after.get(key)
    ]
    others = {
        "data": "the clips or the weights it starts from",
        "seed": "the seed",
        "version": "the training code",
    }
    return found + [words for key, words in others.items() if old[key] != new[key]]


def tidy(folder: Path, keep: int) -> None:
    """Remove the states of older runs of the training whose finished run is in `folder`.

    keep: how many of its runs keep their state, the newest ones, this one among them (0: all). A
    run that a process is at keeps it in any case.
    """
    training = _record(folder)["options"]["training"]
    others = [run for run in _runs(folder.parent, training) if run != folder]
    for run in others[keep - 1 :] if keep > 0 else []:
        if not is_locked(run / LOCK):
            shutil.rmtree(run)
            log.info("%s: removed the state of an older run, %s", training, run)


def _runs(home: Path, training: str) -> list[Path]:
    """The folders with a state of this training, the newest first."""
    found = [
        path.parent
        for path in home.glob(f"*/{RECORD}")
        if (path.parent / STATE).is_file()
        and _record(path.parent)["options"]["training"] == training
    ]
    return sorted(found, key=lambda run: (run / STATE).stat().st_mtime, reverse=True)


def _record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / RECORD).read_text(encoding="utf-8"))


def data_digest(results: str | Path, weights: Iterable[str | Path] = ()) -> str:
    """Digest (40 hex digits) of what a training reads.

    The lists of training and validation clips, the key of each of those clips in clips.csv, and
    the content of the `weights` files (expert, initial checkpoint).
    """
    lists = Path(results) / "filelists"
    texts = {name: (lists / f"{name}.txt").read_text(encoding="utf-8") for name in ("train", "val")}
    used = {parse(line).id for text in texts.values() for line in text.splitlines()}
    rows = read_by_clip(lists / "clips.csv")
    keys = {clip: row.get("key", "") for clip, row in rows.items() if clip in used}
    return digest({"lists": texts, "keys": keys, "weights": [file_sha(path) for path in weights]})


def from_section(kind: type[Options], section: Mapping[str, Any]) -> Options:
    """A dataclass of options from a section of the config; keys of others are left alone."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in section.items() if key in names})
