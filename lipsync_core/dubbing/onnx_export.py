"""Write the generator of a checkpoint as an ONNX file, which dubs where torch is not installed."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lipsync_core import __version__
from lipsync_core.corpus.licences import CARD
from lipsync_core.errors import LipsyncError
from lipsync_core.runtime.files import PathLike, atomic_path, file_sha

OPSET = 17  # of ONNX; onnxruntime 1.12 and later read it
INPUTS, OUTPUT = ("mel", "faces"), "generated"
OF_THE_CARD = ("network", "licence", "commercial_use", "config_digest", "seed")


def export_onnx(checkpoint: PathLike, outfile: PathLike) -> dict[str, str]:
    """Write `outfile`, the generator of `checkpoint` with its batch norm folded, in float32.

    Inputs `mel` float32 (B, 1, 80, 16) and `faces` float32 (B, 6, S, S) in [0, 1], output
    `generated` float32 (B, 3, S, S) BGR in [0, 1], any B. The file's metadata, which is returned,
    says image_size, width, checkpoint_sha256, lipsync_version; and, from model_card.json beside
    the checkpoint where it describes this file, model_card (JSON) and its main entries.

    Equal inputs give equal bytes. Raises LipsyncError when the checkpoint is no generator, or the
    package onnx is not installed.
    """
    target = Path(outfile)
    if target.suffix != ".onnx":
        raise LipsyncError(f"{target}: give the ONNX file a name that ends in .onnx")
    from lipsync_core.checkpoints import build_from
    from lipsync_core.dubbing.torch_engine import fold_batch_norm
    from lipsync_core.models import Wav2Lip

    network = build_from(checkpoint, Wav2Lip)
    facts = {
        "image_size": str(network.image_size),
        "width": f"{network.width:g}",
        "checkpoint_sha256": file_sha(checkpoint),
        "lipsync_version": __version__,
    }
    facts |= _card(Path(checkpoint), facts["checkpoint_sha256"])
    content = _with_metadata(_traced(fold_batch_norm(network)), facts)
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)
    return facts


def _traced(network: Any) -> bytes:
    import torch

    size = network.image_size
    examples = torch.zeros(2, 1, 80, 16), torch.zeros(2, 6, size, size)
    out = io.BytesIO()
    with warnings.catch_warnings():
        # The other exporter, which torch recommends, needs one more package (onnxscript).
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            examples,
            out,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_axes={name: {0: "batch"} for name in (*INPUTS, OUTPUT)},
            opset_version=OPSET,
            dynamo=False,
        )
    return out.getvalue()


def _with_metadata(content: bytes, facts: Mapping[str, str]) -> bytes:
    try:
        import onnx
    except ImportError as error:
        raise LipsyncError(
            f"onnx cannot be imported ({error}); run `pip install 'lipsync-pipeline[onnx]'`"
        ) from error
    model = onnx.load_from_string(content)
    model.producer_name, model.producer_version = "lipsync", __version__
    onnx.helper.set_model_props(model, dict(facts))
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def _card(checkpoint: Path, sha256: str) -> dict[str, str]:
    """The model card beside the checkpoint as metadata; empty without one of this very file."""
    path = checkpoint.with_name(CARD)
    if not path.is_file():
        return {}
    card = json.loads(path.read_text(encoding="utf-8"))
    if card.get("checkpoint_sha256") != sha256:
        return {}
    entries = {key: str(card[key]) for key in OF_THE_CARD if key in card}
    return {**entries, "model_card": json.dumps(card, sort_keys=True)}
