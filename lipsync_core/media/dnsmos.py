"""DNSMOS: how people would rate the speech, the background and the whole of a sound.

DNSMOS P.835 (Reddy, Gopal and Cutler, "DNSMOS P.835: a non-intrusive perceptual objective speech
quality metric to evaluate noise suppressors", ICASSP 2022), whose ONNX weights come with the
package `speechmos` (MIT). The network takes samples; the polynomials that map its outputs to the
scale of the listening test are those of that package's `dnsmos.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lipsync_core.runtime.onnx_models import bundled_file, cpu_session

WINDOW_SAMPLES = 144_160  # 9.01 s at 16 kHz, the only length that the network takes
# Coefficients, highest power first, of signal, background and overall.
CALIBRATION = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)


class Scores(NamedTuple):
    """Mean opinion scores from about 1 (bad) to 5: the speech, the background (5: no noise), the
    whole."""

    signal: float
    background: float
    overall: float


class Dnsmos:
    """DNSMOS P.835. Raises LipsyncError when the package with its weights is not installed."""

    def __init__(self) -> None:
        self._session = cpu_session(bundled_file("speechmos", "dnsmos_models/sig_bak_ovr.onnx"))

    def score(self, wave: np.ndarray) -> Scores:
        """Scores of the first 9.01 s of a sound; a shorter one is repeated, as the authors do.

        wave: float32 (n,), n > 0, in [-1, 1] at 16 kHz. Takes about 0.25 s of processor time.
        """
        window = np.resize(wave, WINDOW_SAMPLES).astype(np.float32)
        raw = self._session.run(None, {"input_1": window[None]})[0][0]
        return Scores(*map(lambda curve, x: float(np.polyval(curve, x)), CALIBRATION, raw))
