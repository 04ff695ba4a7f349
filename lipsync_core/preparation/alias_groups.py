"""Groups of speakers that are one person: prints of the prepared clips, pairs, one name for each.

A few clips of each speaker are enough; which ones follows from their names, so that other clips
and corpora change nothing of a print that is there.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lipsync_core.corpus.filelists import speaker_of
from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.errors import ClipError
from lipsync_core.preparation.aliases import CLIPS_COMPARED, Alias, find_aliases
from lipsync_core.preparation.assignment import unit_hash
from lipsync_core.preparation.duplicates import group_pairs
from lipsync_core.preparation.prints import Print, clip_print
from lipsync_core.preparation.voice_embedding import VoiceEncoder
from lipsync_core.runtime.tables import Row

log = logging.getLogger(__name__)
READERS = 4  # threads: decoding and OpenCV run beside each other


def prepared_aliases(
    results: Path,
    rows: Mapping[str, Row],
    corpora: Mapping[str, str],
    order: Sequence[str] = (),
    groups: Collection[str] = (),
    speaker_encoder: Path | None = None,
) -> tuple[dict[str, str], list[Alias]]:
    """Speaker -> the first name of the same person, for people of several names; and the pairs.

    Parameters
    ----------
    rows: kept clip -> its row of the last stage, with its key. corpora: clip -> its corpus.
    order: the corpora in the config's order: the name in the first of them is the person's, so
        that a corpus added at the end moves nobody. groups: corpora whose speakers are not known.
    speaker_encoder: weights for the voice prints; None for prints that need none.
    """
    clips: dict[str, list[str]] = defaultdict(list)
    place = {name: number for number, name in enumerate(order)}
    ranks: dict[str, tuple[int, str]] = {}
    for clip in rows:
        if corpora[clip] not in groups and clip == source_id(clip):
            speaker = speaker_of(clip)
            clips[speaker].append(clip)
            ranks[speaker] = (place.get(corpora[clip], len(place)), speaker)
    if len(clips) < 2:
        return {}, []
    chosen = [
        clip
        for own in clips.values()
        for clip in sorted(own, key=lambda name: unit_hash(name, 0))[:CLIPS_COMPARED]
    ]
    encoder = VoiceEncoder(speaker_encoder) if speaker_encoder else None
    pairs = find_aliases(_prints(results, rows, chosen, encoder))
    names: dict[str, str] = {}
    for group in group_pairs([(pair.one, pair.other) for pair in pairs]):
        names |= dict.fromkeys(group, min(group, key=ranks.__getitem__))
        log.warning(
            "perhaps one person under several names, kept in one split: %s", ", ".join(group)
        )
    return names, pairs


def _prints(
    results: Path, rows: Mapping[str, Row], clips: Sequence[str], encoder: VoiceEncoder | None
) -> dict[str, list[Print]]:
    """Speaker -> prints; a clip whose files cannot be read is left out, with a warning."""

    def read(clip: str) -> Print | ClipError:
        try:
            return clip_print(results, clip, rows[clip]["key"], encoder)
        except ClipError as error:
            return error

    found: dict[str, list[Print]] = defaultdict(list)
    unread = []
    with ThreadPoolExecutor(READERS) as pool:
        for clip, outcome in zip(clips, pool.map(read, clips), strict=True):
            if isinstance(outcome, Print):
                found[speaker_of(clip)].append(outcome)
            else:
                unread.append(str(outcome))
    if unread:
        log.warning("prints: %d clips cannot be read, first: %s", len(unread), min(unread))
    return found
