"""Signature of a training run: finds the state to continue from, and removes old states.

Light: imports no torch.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lipsync_core.config import TrainingConfig
from lipsync_core.corpus.filelists import parse_line
from lipsync_core.data.weights import read_weights
from lipsync_core.runtime.files import digest, file_sha, is_locked, write_text
from lipsync_core.runtime.tables import read_by_clip

log = logging.getLogger(__name__)
STATE, LOCK, RECORD = "last.pt", ".lock", "run.json"  # in the folder of a run
VERSION = 3  # of the training code: raise it when old states must not be continued

# Keys that do not change what a run computes.
BOOKKEEPING = {
    *("eval_every", "save_every", "checkpoint_every", "num_workers", "cache_mb", "export"),
    *("patience", "max_rollbacks", "num_processes", "compile", "max_runs", "data_check"),
    "previews",
    *("pretrained", "disc_pretrained"),  # the content of the files counts, see `data_digest`
}


def computed_keys(config: TrainingConfig) -> dict[str, Any]:
    """The keys of a config that change what a training computes.

    `eval_every` does where evaluations steer the training (the sync loss waits for its threshold);
    `steps` only where the schedule depends on it: with a constant learning rate and one phase, more
    steps continue the run (and end as a fresh run would where the old end was due for an evaluation
    anyway).
    """
    keys = config.model_dump(exclude=BOOKKEEPING)
    if "sync_threshold" in keys:
        keys["eval_every"] = config.eval_every
    if config.lr_schedule == "constant" and keys.get("loss") != "contrastive+bce":
        del keys["steps"]
    return keys


def open_run(home: Path, training: str, keys: Mapping[str, Any], data: str, seed: int) -> Path:
    """The folder of a run in `home`, where it may find a state to continue from.

    The folder is named by a digest (16 hex digits) of the arguments and `VERSION`. training: its
    name; two trainings never share a run. keys: see `computed_keys`. data: see `data_digest`. Where
    there is no state, but one of an earlier run of this training, the log states what changed.
    """
    options = {"training": training, **keys}
    new = {"version": VERSION, "options": options, "data": data, "seed": seed}
    folder = home / digest(new)[:16]
    if not (folder / STATE).is_file():
        for old in _runs(home, training)[:1]:
            changes = "; ".join(_changes(_record(old), new)) or "nothing that is computed"
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


def remove_old_runs(folder: Path, keep: int) -> None:
    """Remove the states of older runs of the training whose finished run is in `folder`.

    keep: how many of its runs keep their state, the newest ones, this one among them (0: all). A
    run that a process has locked keeps it in any case.
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

    The lists of training and validation clips, the key of each of those clips in clips.csv, the
    sampling weights of the corpora, and the content of the `weights` files (SyncNet, pretrained
    checkpoints).
    """
    lists = Path(results) / "filelists"
    texts = {name: (lists / f"{name}.txt").read_text(encoding="utf-8") for name in ("train", "val")}
    used = {parse_line(line).id for text in texts.values() for line in text.splitlines()}
    rows = read_by_clip(lists / "clips.csv")
    keys = {clip: row.get("key", "") for clip, row in rows.items() if clip in used}
    found = {"lists": texts, "keys": keys, "weights": [file_sha(path) for path in weights]}
    sampling = read_weights(Path(results))
    return digest(found | ({"sampling": sampling} if sampling else {}))
