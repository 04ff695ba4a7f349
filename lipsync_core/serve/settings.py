"""Settings of the page: what `lipsync serve` was started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lipsync_core.serve.uploads import Limits


@dataclass(frozen=True)
class ServeSettings:
    """checkpoint, device, detector, models: as for a dubbing.

    label: a visible mark on every result; "" leaves it to the visitor. sign_cert, sign_key: PEM
    files that sign every result, "" for none. host, port: where the page is served; port 0 takes a
    free one.
    """

    checkpoint: Path
    device: str = "auto"
    detector: str | None = None
    models: str = "models"
    label: str = ""
    sign_cert: str = ""
    sign_key: str = ""
    host: str = "127.0.0.1"
    port: int = 7860
    limits: Limits = field(default_factory=Limits)
