"""Model cards: what a checkpoint was trained on and from, and under which licences. Light.

One JSON file and one page of Markdown beside each checkpoint (after Mitchell et al., "Model Cards
for Model Reporting", 2019).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lipsync_core.corpus.layouts.items import SPLITS
from lipsync_core.corpus.licences import CARD, allows_commercial, combined, weights_licence
from lipsync_core.corpus.split_summary import read_split
from lipsync_core.media.timestamps import FPS
from lipsync_core.runtime.files import digest, file_sha, write_text
from lipsync_core.runtime.tables import Row, read_table

USED = SPLITS[:2]  # validation chooses the exported weights
UNKNOWN = "unknown"


def model_card(
    results: str | Path,
    network: str,
    checkpoint: str | Path,
    config: Mapping[str, Any],
    seed: int,
    weights: Mapping[str, str],
    syncnet: str | Path | None = None,
    faces: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The card of a trained network, a dict for JSON.

    Parameters
    ----------
    results: the results folder, with filelists and, where it was made, evaluation.json.
    network: "syncnet" or the variant of the generator. config: of its training.
    weights: config key -> weight file that it was trained from, or that prepared its clips.
    syncnet: the checkpoint whose sync loss it was trained with.
    faces: how the faces of its clips were found and cropped: the detector, and the sections detect,
        track and crop of the config. A dubbing does the same.

    Returns network, checkpoint_sha256, licence (of all parts, "" where one is not known),
    commercial_use, corpora (a list: name, clips, hours and speakers of training and validation,
    licences {licence: clips}), licences (of all clips), weights (key, file, sha256, licence),
    syncnet (sha256), split, faces, config, config_digest, seed, evaluation (figures, None without).
    """
    results = Path(results)
    table = read_table(results / "filelists" / "clips.csv")
    clips = [row for row in table if set(row["split"].split("+")) & set(USED)]
    by_corpus: dict[str, list[Row]] = defaultdict(list)
    for row in clips:
        by_corpus[row.get("corpus", "")].append(row)
    sources = [
        {"key": key, "file": path, "sha256": _sha(path), "licence": weights_licence(path)}
        for key, path in weights.items()
    ]
    parts = [*(row.get("licence", "") for row in clips), *(each["licence"] for each in sources)]
    return {
        "network": network,
        "checkpoint_sha256": file_sha(checkpoint),
        "licence": combined(parts),
        "commercial_use": all(map(allows_commercial, parts)),
        "corpora": [_summary(name, rows) for name, rows in sorted(by_corpus.items())],
        "licences": _licences(clips),
        "weights": sources,
        "syncnet": _sha(syncnet) if syncnet else None,
        "split": read_split(results),
        "faces": dict(faces or {}),
        "config": dict(config),
        "config_digest": digest(config),
        "seed": seed,
        "evaluation": _figures(results / "evaluation.json", network),
    }


def _summary(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "licences": _licences(rows)}
    for split in USED:
        own = [row for row in rows if split in row["split"].split("+")]
        found[split] = {
            "clips": len(own),
            "hours": round(sum(_seconds(row, split) for row in own) / 3600, 4),
            "speakers": len({row["speaker"] for row in own}),
        }
    return found


def _seconds(row: Row, split: str) -> float:
    """The length of a clip, or of its part in a split by time."""
    if not row.get("split_frames"):
        return float(row["seconds"])
    frames = row["split_frames"].split("+")[row["split"].split("+").index(split)]
    first, _, last = frames.partition("-")
    return (int(last) - int(first) + 1) / FPS


def _licences(rows: Sequence[Row]) -> dict[str, int]:
    counts = Counter(row.get("licence") or UNKNOWN for row in rows)
    return dict(sorted(counts.items()))


def _sha(path: str | Path) -> str:
    return file_sha(path) if Path(path).is_file() else ""


def _figures(path: Path, network: str) -> dict[str, Any] | None:
    """The single figures of a network in evaluation.json, and whose clips they are of."""
    if not path.is_file():
        return None
    report = json.loads(path.read_text(encoding="utf-8"))
    found = report.get(network) or report.get("generators", {}).get(network)
    if not isinstance(found, dict):
        return None
    figures = {key: value for key, value in found.items() if isinstance(value, int | float)}
    return {"evaluated_on": report.get("evaluated_on", ""), **figures}


def write_card(folder: str | Path, card: Mapping[str, Any]) -> None:
    """Write model_card.json and model_card.md into the folder of the checkpoint."""
    write_text(Path(folder) / CARD, json.dumps(card, indent=2) + "\n")
    write_text((Path(folder) / CARD).with_suffix(".md"), page(card))


def page(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    use = "allowed by all parts" if card["commercial_use"] else "not allowed, or not known to be"
    lines = [
        f"# Model card: {card['network']}",
        "",
        f"- Licence, by its data and weights: {card['licence'] or UNKNOWN}",
        f"- Commercial use: {use} (bookkeeping, not legal advice)",
        f"- Checkpoint: SHA-256 `{card['checkpoint_sha256']}`",
        f"- Config: digest `{card['config_digest']}`, seed {card['seed']}",
        f"- Split by {card['split'].get('by', UNKNOWN)}",
        "",
        "## Data",
        "",
        "| corpus | split | clips | hours | speakers | licences (clips) |",
        "|---|---|---|---|---|---|",
    ]
    for corpus in card["corpora"]:
        licences = ", ".join(f"{name} ({count})" for name, count in corpus["licences"].items())
        for split in USED:
            own = corpus[split]
            cells = (corpus["name"] or "-", split, own["clips"], f"{own['hours']:.2f}")
            lines.append(_row(*cells, own["speakers"], licences))
    lines += ["", "## Weights that it was made with", ""]
    lines += ["| key | file | licence |", "|---|---|---|"] if card["weights"] else ["None."]
    lines += [_row(one["key"], one["file"], one["licence"] or UNKNOWN) for one in card["weights"]]
    if card["syncnet"]:
        lines += ["", f"Sync loss by the SyncNet with SHA-256 `{card['syncnet']}`."]
    if card["evaluation"]:
        figures = dict(card["evaluation"])
        lines += ["", f"## Evaluation: {figures.pop('evaluated_on')}", ""]
        lines += ["| figure | value |", "|---|---|"]
        lines += [_row(key, value) for key, value in figures.items()]
    return "\n".join(lines) + "\n"


def _row(*cells: Any) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
