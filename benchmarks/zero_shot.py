"""Zero-shot: how well a trained SyncNet knows speakers and corpora that it was not trained on.

    python benchmarks/zero_shot.py CHECKPOINT --results DIR [--splits train val test]

DIR is a prepared folder. The clips are grouped by their speakers' names up to the first `_`. Each
group is measured with the network's own batch-norm statistics and with those of each clip
(`evaluation.syncnet.with_clip_statistics`), by the protocol of the validation.
Figures: docs/log.md.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from lipsync_core.checkpoints import build_from
from lipsync_core.data.dataset import ClipDataset, read_filelist
from lipsync_core.evaluation.syncnet import evaluate_syncnet, with_clip_statistics
from lipsync_core.models import SyncNet
from lipsync_core.runtime import threads

COLUMNS = ("auc", "loss", "offset_1", "offset_5", "offset_10plus")
WHOLE_CLIP = 1 << 16  # windows embedded at once


def groups(results: Path, splits: list[str], image_size: int) -> dict[str, ClipDataset]:
    """The clips by the first word of their speakers' names, and all of them."""
    lines: dict[str, list[str]] = defaultdict(list)
    for split in splits:
        for line in read_filelist(results / "filelists" / f"{split}.txt", results / "faces"):
            lines[line.partition("/")[0].partition("_")[0]].append(line)
    found = {name: lines[name] for name in sorted(lines)}
    found["all"] = [line for part in lines.values() for line in part]
    return {name: ClipDataset.load(results, part, image_size) for name, part in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--results", type=Path, required=True, help="prepared data")
    parser.add_argument("--splits", nargs="+", default=["train", "val", "test"])
    parser.add_argument("--windows", type=int, default=48, help="of each clip")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    threads.limit(arguments.threads)
    model = build_from(arguments.checkpoint, SyncNet).eval()
    networks = {"own": model, "of the clip": with_clip_statistics(model)}
    head = ["clips of", "clips", "statistics", *COLUMNS]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head), flush=True)
    for name, dataset in groups(arguments.results, arguments.splits, model.image_size).items():
        for statistics, network in networks.items():
            found = evaluate_syncnet(network, dataset, 0, arguments.windows, WHOLE_CLIP).metrics
            cells = [name, len(dataset.clips), statistics]
            cells += [f"{found[column]:.3f}" for column in COLUMNS]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
