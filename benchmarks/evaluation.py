"""Claim: 500 short clips are evaluated in minutes on two cores; features are computed once.

    python benchmarks/evaluation.py RESULTS [--clips 500] [--frames 50] [--width 0.25] [--threads 2]

RESULTS is a folder of prepared data; its clips are taken again and again until there are enough.
Random weights: the time does not depend on them. One generator, two judges, both protocols.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from lipsync_core.data.dataset import ClipDataset, read_filelist
from lipsync_core.evaluation.judges import SyncNetJudge
from lipsync_core.evaluation.protocols import run_protocols
from lipsync_core.evaluation.summary import report_sections
from lipsync_core.models import SyncNet, Wav2Lip


class CountingJudge(SyncNetJudge):
    """A judge that counts the face windows it embeds."""

    windows = 0

    def embed_faces(self, frames):
        found = super().embed_faces(frames)
        self.windows += len(found)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    lists = [options.results / "filelists" / f"{split}.txt" for split in ("train", "val", "test")]
    names = [name for path in lists for name in read_filelist(path, options.results / "faces")]
    dataset = ClipDataset.load(options.results, names)
    known = len(dataset.clips)
    copies = (dataset.clips * -(-options.clips // known))[: options.clips]
    # Another speaker's name for each copy, as in a corpus of so many clips.
    dataset.clips = [replace(c, id=f"{i // known}_{c.id}") for i, c in enumerate(copies)]
    judges = [CountingJudge(name, SyncNet(width=options.width)) for name in ("one", "two")]
    generators = {"wav2lip": Wav2Lip(width=options.width).eval()}
    began, cpu = time.perf_counter(), time.process_time()
    rows = run_protocols(dataset, options.results, generators, judges, max_frames=options.frames)
    measured = time.perf_counter() - began
    report_sections(rows, generators, judges)
    seconds, processor = time.perf_counter() - began, time.process_time() - cpu
    windows = options.clips * (options.frames - 4)
    print(
        f"clips                 {options.clips} of {options.frames} frames, width {options.width}"
    )
    print(f"seconds               {seconds:.1f} ({seconds - measured:.1f} for the intervals)")
    print(f"processor seconds     {processor:.1f}")
    print(f"clips a second        {options.clips / seconds:.2f}")
    print(f"embeddings a window   {judges[0].windows / windows:.2f} (5 sets of frames)")


if __name__ == "__main__":
    main()
