"""Several corpora as one: clips of each, their ids prefixed by its name. Light.

A clip of corpus `lrs3` is `lrs3.<speaker>/<clip>`: a corpus' name holds no dot, so equal speakers
of two corpora stay apart, and each corpus keeps its splits, signatures and shards whatever others
are added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lipsync_core.config import Config
from lipsync_core.corpus.clips import Clip, discover, shard_of
from lipsync_core.corpus.filelists import speaker_of
from lipsync_core.corpus.layouts import LAYOUTS
from lipsync_core.corpus.layouts.scan import encode
from lipsync_core.errors import LipsyncError

# Computed speech over portraits by the US government; see THIRD_PARTY_NOTICES.md.
DEMO_LICENCE = "public domain (demo)"


@dataclass(frozen=True)
class Corpus:
    """One corpus of a run. name: "" where it is the only one, whose ids have no prefix."""

    name: str
    data_root: Path
    layout: str
    licence: str = ""
    weight: float | None = None

    @property
    def label(self) -> str:
        """What a message calls it."""
        return f"corpus {self.name!r}" if self.name else f"data_root {str(self.data_root)!r}"

    def usual_licence(self) -> str:
        """The licence of clips that have none of their own; "" where it is not known."""
        return self.licence or LAYOUTS[self.layout].licence


def corpora_of(config: Config) -> list[Corpus]:
    """The corpora that a config names."""
    if not config.corpora:
        return [Corpus("", Path(config.data_root), config.layout, config.licence)]
    return [
        Corpus(each.name, Path(each.data_root), each.layout, each.licence, each.weight)
        for each in config.corpora
    ]


def sampling_weights(corpora: Iterable[Corpus]) -> dict[str, float]:
    """Name -> relative weight of its training samples; {} where clips are drawn equally often."""
    return {each.name: each.weight for each in corpora if each.name and each.weight is not None}


def discover_corpora(
    corpora: Iterable[Corpus],
    shards: int,
    segments: Path,
    signature: str = "mtime",
    previous: Iterable[Clip] = (),
    ffmpeg: str = "",
    partial_lists: bool = False,
    demo: Mapping[str, str] = MappingProxyType({}),
    demo_splits: Mapping[str, str] = MappingProxyType({}),
) -> list[Clip]:
    """The clips of all corpora, sorted by id; see `clips.discover` for the arguments.

    segments: the folder of all cuts; each corpus that has a name has a folder of its own in it.
    demo: stands in for the clips of a corpus without a name.
    Raises LipsyncError as `clips.discover` does; the message begins with the corpus' name.
    """
    known: dict[str, list[Clip]] = {}
    for clip in previous:
        known.setdefault(clip.corpus, []).append(clip)
    found: list[Clip] = []
    for corpus in corpora:
        try:
            clips = discover(
                corpus.data_root,
                shards,
                signature,
                known.get(corpus.name, ()),
                {} if corpus.name else demo,
                {} if corpus.name else demo_splits,
                corpus.layout,
                segments / corpus.name if corpus.name else segments,
                ffmpeg,
                partial_lists,
            )
        except LipsyncError as error:
            if not corpus.name:
                raise
            raise LipsyncError(f"{corpus.label}: {error}") from error
        found += (
            _labelled(clip, corpus, shards, DEMO_LICENCE if clip.path in demo else "")
            for clip in clips
        )
    return sorted(found)


def _labelled(clip: Clip, corpus: Corpus, shards: int, licence: str) -> Clip:
    """The clip with the name, the folder and the licence of its corpus; licence: of the demo."""
    clip = clip._replace(licence=clip.licence or corpus.usual_licence() or licence)
    if not corpus.name:
        return clip
    name = f"{corpus.name}.{clip.id}"
    return clip._replace(
        id=name,
        speaker=speaker_of(name),
        shard=shard_of(name, shards),
        corpus=corpus.name,
        root=encode(str(corpus.data_root)),
    )


def groups_of(config: Config) -> set[str]:
    """The names of the corpora whose ids begin with a group instead of a speaker."""
    return {each.name for each in corpora_of(config) if not LAYOUTS[each.layout].speakers_known}
