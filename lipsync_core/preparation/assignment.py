"""Which split a clip is in: official splits, and the drawing of speakers.

A speaker's split follows from a hash of its name and the seed, so that adding clips or speakers
moves no other. Official splits (of the layout, or of lists in the data root) win. Layouts and lists
only carry the official split (`Clip.split`); what follows from it is decided here and nowhere else.
Each corpus of a run is split for itself, as if it were alone; only people whom several corpora know
have one split in all.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from lipsync_core.corpus.filelists import ListedClip, speaker_of
from lipsync_core.corpus.layouts.items import PRETRAIN, SPLITS, source_id
from lipsync_core.errors import LipsyncError
from lipsync_core.preparation import time_split
from lipsync_core.preparation.time_split import Parts

log = logging.getLogger(__name__)


def unit_hash(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on the name and the seed alone."""
    word = hashlib.sha1(f"{seed}:{name}".encode()).digest()[:8]
    return int.from_bytes(word, "big") / 2**64


def split_speakers(
    speakers: Iterable[str], val: float, test: float, seed: int, trained: bool = False
) -> dict[str, str]:
    """Speaker -> "train", "val" or "test", with shares `val` and `test` of the speakers.

    When chance leaves validation (or test) without a speaker, one is moved there, as long as one
    stays in training; training comes first, then validation. trained: training has others already.
    """
    hashes = {speaker: unit_hash(speaker, seed) for speaker in set(speakers)}
    order = sorted(hashes, key=hashes.__getitem__)
    chosen = {}
    for speaker in order:
        place = hashes[speaker]
        chosen[speaker] = "val" if place < val else "test" if place < val + test else "train"
    if order and not trained and "train" not in chosen.values():
        chosen[order[-1]] = "train"
    for name, share, donors in (("val", val, ("train", "test")), ("test", test, ("train",))):
        if share == 0 or name in chosen.values():
            continue
        for donor in donors:
            those = [speaker for speaker in order if chosen[speaker] == donor]
            if len(those) > (donor == "train" and not trained):
                chosen[those[0]] = name
                break
    return chosen


def separate(official: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The clips whose split is fixed, with it, and those whose split is drawn.

    official: clip id -> "train", "val", "test", "trainval" (train or val), "pretrain" (train where
    others have a split) or "" for none.

    Without any official split, everything is drawn. Else clips that no list names go to training,
    if there is an official validation. If not, validation is drawn from clips that no list names (a
    lone test.txt) or, where all of those are in training, from train.txt.
    """
    if set(official.values()) <= {"", PRETRAIN}:
        return {}, list(official)
    names = {clip: "train" if name == PRETRAIN else name for clip, name in official.items()}
    fixed = {clip: name for clip, name in names.items() if name in SPLITS}
    rest = [clip for clip in names if clip not in fixed]
    if "val" in fixed.values():
        return fixed | dict.fromkeys(rest, "train"), []
    training = {speaker_of(clip) for clip, name in fixed.items() if name == "train"}
    fixed |= {clip: "train" for clip in rest if speaker_of(clip) in training}
    rest = [clip for clip in rest if clip not in fixed]
    if not rest:
        rest = [clip for clip, name in fixed.items() if name == "train"]
        fixed = {clip: name for clip, name in fixed.items() if name != "train"}
    return fixed, rest


def check_leaks(split: Mapping[str, str], speakers_known: bool = True) -> None:
    """Raise LipsyncError when a speaker of a multi-speaker corpus is in more than one split.

    Where speakers are not known (an official split by something else), only log a warning.
    """
    found: dict[str, set[str]] = {}
    for clip, name in split.items():
        found.setdefault(speaker_of(clip), set()).add(name)
    leaks = sorted(speaker for speaker, names in found.items() if len(names) > 1)
    if not leaks or len(found) == 1:
        return
    message = f"{len(leaks)} speakers are in more than one split, first {leaks[:5]}"
    if speakers_known:
        raise LipsyncError(
            f"filelists: {message}; correct the official lists in the data root, or remove them"
        )
    log.warning("%s, according to the official split", message)


def assign(
    results: Path,
    official: Mapping[str, str],
    val: float,
    test: float,
    seed: int,
    seconds: Mapping[str, float],
    corpora: Mapping[str, str] | None = None,
    groups: Collection[str] = (),
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, dict[str, Parts]]:
    """How the clips are split, and clip id -> its part in each split.

    official: see `separate`; in a corpus that has any, no test is drawn. val, test: shares that
    are drawn. seconds: clip id -> its length. corpora: clip id -> its corpus; without it there is
    one. groups: the corpora whose ids begin with a group instead of a speaker, see `check_leaks`,
    whose error this raises. aliases: speaker -> the name under which a person of several names is
    drawn; where one of the names has an official split, the others follow it.

    Speakers are drawn. Of a single speaker, the videos are drawn where they are many (none is
    longer than the smallest share); else each is divided by time, if that leaves a validation.

    Returns "official", "speaker", "clip" or "time" (how those were drawn whose split is not
    official; several joined by "+"), and of each clip the whole in one split, or parts of it in
    several. A clip that lies in no part of its video has {}.
    """

    def person(clip: str) -> str:
        speaker = speaker_of(clip)
        return aliases.get(speaker, speaker)

    members, fixed, drawn = _by_corpus(official, corpora)
    home: dict[str, str] = {}  # person -> split; of several official ones the most held out
    for clip, name in fixed.items():
        if speaker_of(clip) in aliases:
            home[person(clip)] = max(home.get(person(clip), name), name, key=SPLITS.index)
    everyone = {person(clip) for clips in drawn.values() for clip in clips}
    alone = len(everyone) == 1 and not everyone & home.keys() and "train" not in fixed.values()
    parts = {clip: {name: ListedClip(clip)} for clip, name in fixed.items()}
    if alone:
        one = [clip for clips in drawn.values() for clip in clips]
        wanted = 0 if _listed(official) else test
        by, divided = _divide_speaker(results, one, val, wanted, seed, seconds)
        parts |= divided
    else:
        by = "+".join(dict.fromkeys("speaker" if clips else "official" for clips in drawn.values()))
        for corpus, clips in drawn.items():
            wanted = 0 if _listed(members[corpus]) else test
            trained = "train" in {fixed[clip] for clip in members[corpus] if clip in fixed}
            people = {person(clip) for clip in clips} - home.keys()
            home |= split_speakers(people, val, wanted, seed, trained)
            parts |= {clip: {home[person(clip)]: ListedClip(clip)} for clip in clips}
    for corpus, own in members.items():
        # A single speaker is in training and validation; its drawn clips are no leak.
        names = {clip: "train" if alone and clip not in fixed else min(parts[clip]) for clip in own}
        check_leaks(names, corpus not in groups)
    return by or "official", parts


def _by_corpus(
    official: Mapping[str, str], corpora: Mapping[str, str] | None
) -> tuple[dict[str, dict[str, str]], dict[str, str], dict[str, list[str]]]:
    """Corpus -> its part of `official`; clip -> its fixed split; corpus -> its drawn clips."""
    members: dict[str, dict[str, str]] = {}
    for clip, name in official.items():
        members.setdefault(corpora[clip] if corpora else "", {})[clip] = name
    fixed: dict[str, str] = {}
    drawn: dict[str, list[str]] = {}
    for corpus, own in members.items():
        named, drawn[corpus] = separate(own)
        fixed |= named
    return members, fixed, drawn


def _listed(official: Mapping[str, str]) -> bool:
    """Whether a corpus has an official split."""
    return not set(official.values()) <= {"", PRETRAIN}


def _divide_speaker(
    results: Path,
    clips: list[str],
    val: float,
    test: float,
    seed: int,
    seconds: Mapping[str, float],
) -> tuple[str, dict[str, Parts]]:
    """The clips of one speaker by video or, where these are too few or too long, by time."""
    home = split_speakers(map(source_id, clips), val, test, seed)
    parts = {clip: {home[source_id(clip)]: ListedClip(clip)} for clip in clips}
    if val:
        lengths = {source_id(clip): seconds[clip] for clip in clips}
        smallest = min(share for share in (val, test) if share)
        if max(lengths.values()) > smallest * sum(lengths.values()) * (1 + 1e-9):
            divided = time_split.divide(results, clips, val, test)
            if any("val" in own for own in divided.values()):
                return "time", divided
    return "clip", parts


def conflicts(parts: Mapping[str, Parts], aliases: Mapping[str, str]) -> list[str]:
    """The people of several names whose official splits differ: they stay, with a warning."""
    found: dict[str, set[str]] = {}
    for clip, own in parts.items():
        if speaker_of(clip) in aliases:
            found.setdefault(aliases[speaker_of(clip)], set()).update(own)
    several = sorted(name for name, splits in found.items() if len(splits) > 1)
    for name in several:
        log.warning("%s, a person of several names, is officially in %s", name, found[name])
    return several
