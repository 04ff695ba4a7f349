"""The claim: a person under two names is found, and different speakers are hardly ever merged.

The clips of each speaker who has several are divided at random between two names: planted aliases.
Every pair of different speakers that is found is a false alarm. With the weights of a speaker
encoder (`lipsync fetch speaker_encoder.pt`) the limit of the voices is chosen on half of the
speakers, at most 1 % of whose pairs may be false, and measured on the other half.

    python benchmarks/aliases.py --results results [--encoder models/speaker_encoder.pt]

Figures: docs/log.md.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lipsync_core.preparation.aliases import CLIPS_COMPARED, Alias, find_aliases
from lipsync_core.preparation.assignment import unit_hash
from lipsync_core.preparation.prints import Print, clip_print
from lipsync_core.preparation.voice_embedding import VoiceEncoder
from lipsync_core.runtime.tables import read_table

TWIN = "~twin"
LIMITS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
MAX_FALSE = 0.01  # of the pairs of different speakers


def planted(clips: Mapping[str, Sequence[str]], seed: int) -> dict[str, list[str]]:
    """Name -> clips, where the clips of a speaker who has several lie under two names."""
    rng, names = np.random.default_rng(seed), {}
    for speaker, own in clips.items():
        order = [own[n] for n in rng.permutation(len(own))]
        half = len(order) // 2
        names[speaker] = order[half:]
        if half:
            names[speaker + TWIN] = order[:half]
    return names


def same(one: str, other: str) -> bool:
    return one.removesuffix(TWIN) == other.removesuffix(TWIN)


class Tally:
    """Planted pairs and false pairs of some speakers, over the seeds."""

    def __init__(self) -> None:
        self.planted = self.pairs = 0
        self.found: list[Alias] = []

    def add(self, names: Sequence[str], found: Sequence[Alias]) -> None:
        twins = sum(name.endswith(TWIN) for name in names)
        self.planted += twins
        self.pairs += len(names) * (len(names) - 1) // 2 - twins
        self.found += [each for each in found if {each.one, each.other} <= set(names)]

    def shares(self, limit: float) -> tuple[float, float]:
        """Share of the planted pairs found, and of the other pairs, at a limit of the voices."""
        near = [each for each in self.found if each.voice <= limit]
        right = sum(same(each.one, each.other) for each in near)
        return right / self.planted, (len(near) - right) / self.pairs


def measure(
    clips: Mapping[str, Sequence[str]],
    prints: Mapping[str, Print],
    seeds: int,
    max_voice: float | None,
) -> tuple[Tally, Tally, Tally]:
    """All speakers, and two halves of them."""
    tallies = Tally(), Tally(), Tally()
    for seed in range(seeds):
        names = planted(clips, seed)
        chosen = {
            name: [prints[clip] for clip in own[:CLIPS_COMPARED]] for name, own in names.items()
        }
        found = find_aliases(chosen, max_voice)
        half = {name: int(unit_hash(name.removesuffix(TWIN), 1) < 0.5) for name in names}
        for number, tally in enumerate(tallies):
            tally.add([name for name in names if number == 0 or half[name] == number - 1], found)
    return tallies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="prepared data")
    parser.add_argument("--encoder", type=Path, help="weights of the speaker encoder")
    parser.add_argument("--seeds", type=int, default=6)
    arguments = parser.parse_args()
    rows = read_table(arguments.results / "filelists" / "clips.csv")
    keys = {row["clip"]: row["key"] for row in rows if row["kept"] == "1"}
    clips: dict[str, list[str]] = defaultdict(list)
    for clip in sorted(keys):
        clips[clip.partition("/")[0]].append(clip)
    encoder = VoiceEncoder(arguments.encoder) if arguments.encoder else None
    prints = {clip: clip_print(arguments.results, clip, key, encoder) for clip, key in keys.items()}
    several = sum(len(own) > 1 for own in clips.values())
    print(f"{len(clips)} speakers, {several} of them with several clips; {arguments.seeds} seeds")
    for title, limit in (("as shipped", None), ("other limits", max(LIMITS))):
        if limit is not None and encoder is None:
            break
        tallies = measure(clips, prints, arguments.seeds, limit)
        if limit is None:
            show(title, tallies[0], 9.0)
            continue
        for own in LIMITS:
            show(f"limit {own:g}", tallies[0], own)
        best = max(LIMITS, key=lambda own: score(tallies[1], own))
        show(f"half that chooses {best:g}", tallies[1], best)
        show("the other half", tallies[2], best)


def score(tally: Tally, limit: float) -> tuple[bool, float, float]:
    found, false = tally.shares(limit)
    return false <= MAX_FALSE, found, -false


def show(title: str, tally: Tally, limit: float) -> None:
    found, false = tally.shares(limit)
    print(
        f"{title:22} found {found:6.1%} of {tally.planted:4}, "
        f"false {false:7.3%} of {tally.pairs} pairs",
        flush=True,
    )


if __name__ == "__main__":
    main()
