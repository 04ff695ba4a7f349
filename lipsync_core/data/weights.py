"""Sampling weights of the corpora: which corpus each training sample is drawn from. Light."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from lipsync_core.runtime.files import write_text

log = logging.getLogger(__name__)
# The golden ratio times 2**64. Its multiples, modulo 1, fill the unit interval more evenly than
# random numbers: after n samples a corpus' share is off by about log(n) / n, not 1 / sqrt(n) (the
# Kronecker sequence). Integers, because indices are too large for exact multiples of a float.
GOLDEN_RATIO = 0x9E3779B97F4A7C15


def weights_path(results: Path) -> Path:
    """The file of the sampling weights."""
    return results / "filelists" / "weights.json"


def write_weights(results: Path, weights: Mapping[str, float]) -> None:
    """Write corpus -> relative weight; {} where every clip is drawn equally often."""
    write_text(weights_path(results), json.dumps(weights, indent=1) + "\n")


def read_weights(results: Path) -> dict[str, float]:
    """What `write_weights` wrote; {} where there is no file."""
    path = weights_path(results)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


class CorpusSampler:
    """Draws a corpus for each sample by its weight: a pure function of (clips, seed, index).

    Parameters
    ----------
    ids: the clips, `<corpus>.<speaker>/<clip>`. weights: corpus -> relative weight, > 0. A corpus
    without a clip among `ids` is left out, and its share goes to the others.
    """

    def __init__(self, ids: Sequence[str], weights: Mapping[str, float]) -> None:
        members: dict[str, list[int]] = {name: [] for name in weights}
        for place, clip in enumerate(ids):
            members[clip.partition(".")[0]].append(place)
        if empty := sorted(name for name, places in members.items() if not places):
            log.warning("no clip of corpus %s to train on; the others share its weight", empty[0])
        self.members = [places for places in members.values() if places]
        shares = [weights[name] for name, places in members.items() if places]
        self.ends = [sum(shares[: place + 1]) / sum(shares) for place in range(len(shares))]

    def clips(self, position: float) -> list[int]:
        """The places of the clips of the corpus drawn by `position`, a number in [0, 1)."""
        which = next((i for i, end in enumerate(self.ends) if position < end), len(self.ends) - 1)
        return self.members[which]


def position(start: float, index: int) -> float:
    """Number `index` of an evenly spread sequence in [0, 1) that begins at `start`."""
    return (start + (index * GOLDEN_RATIO % (1 << 64)) / (1 << 64)) % 1.0
