"""Official split lists: `{train,val,test,pretrain}.txt`, one clip a line, as LRS2 has them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from lipsync_core.layouts.items import SPLITS
from lipsync_core.layouts.scan import decode, encode


def read_lists(data_root: Path, folder: str = "") -> dict[str, str]:
    """Line -> split of the lists in `data_root`/`folder` (encoded); empty when there are none.

    pretrain.txt counts as train; of several lists that hold a line, test wins, then val.
    """
    lines: dict[str, str] = {}
    for name, split in (("pretrain", "train"), *((split, split) for split in SPLITS)):
        path = data_root / decode(folder) / f"{name}.txt"
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
            lines |= dict.fromkeys(text.splitlines(), split)
    return lines


def official(lines: dict[str, str], ids: Collection[str]) -> dict[str, str]:
    """Clip id -> split. A line is an id, maybe followed by a second token (LRS2's NF or MV)."""
    known, chosen = set(ids), {}
    for line, split in lines.items():
        for reading in (line, encode(line), line.rpartition(" ")[0]):
            if reading in known:
                chosen[reading] = split
                break
    return chosen
