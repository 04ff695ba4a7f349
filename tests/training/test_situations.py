"""Diagnosis of recorded trainings, each with a fault that was made on purpose.

The rows and findings were recorded by `benchmarks/diagnosis.py` (width 0.125, seed 0) on a GRID
speaker, of whom 14 minutes train, and on 6 minutes of 53 real speakers ("too little, many").
"""

import pytest

from lipsync_core.config import SyncNetConfig
from lipsync_core.training import diagnosis
from lipsync_core.training.causes import RunInfo
from lipsync_core.training.data_check.result import (
    AV_SYNC,
    OVERFIT,
    data_faults,
    has_constant_offset,
)
from lipsync_core.training.data_facts import MEASURED, DataFacts
from lipsync_core.training.diagnosis import DATA_AMOUNT

# step, phase, training loss, validation loss, AUC
GOOD = """
80 contrastive 2.30817 0.847578 0.507359
160 contrastive 1.67598 0.672541 0.666886
240 bce 0.907984 0.475669 0.841803
320 bce 0.42507 0.400587 0.889142
400 bce 0.395246 0.37434 0.903712
"""
MANY = """
80 contrastive 2.60585 0.752796 0.503744
160 contrastive 2.30936 0.820169 0.498581
240 bce 1.46143 0.717498 0.511291
320 bce 0.691983 0.704977 0.507919
400 bce 0.6845 0.698659 0.514628
"""
SHIFTED = """
80 contrastive 2.41211 0.840231 0.501852
160 contrastive 1.90506 0.707919 0.598789
240 bce 1.17171 0.614748 0.706739
320 bce 0.538805 0.498741 0.807401
400 bce 0.503104 0.48294 0.820678
"""
SLOW = """
80 contrastive 2.75621 0.76347 0.503448
160 contrastive 2.75581 0.765322 0.506532
240 bce 1.76527 0.765901 0.51216
320 bce 0.77666 0.766385 0.508386
400 bce 0.77632 0.763411 0.510395
"""
SWAPPED = """
80 contrastive 2.71948 0.767991 0.517435
160 contrastive 2.41104 0.792286 0.501028
240 bce 1.48429 0.712044 0.513638
320 bce 0.698486 0.69619 0.493401
400 bce 0.696007 0.696962 0.477583
"""
SILENT = """
40 contrastive 2.07944 0.810727 0.500001
80 contrastive 2.07944 0.76345 0.500002
120 bce 1.41579 0.78961 0.5
160 bce 0.720994 0.865245 0.499998
200 bce 0.706905 0.748808 0.499995
"""
FEW = """
40 contrastive 2.30924 0.785193 0.498861
80 contrastive 1.75217 0.75802 0.58624
120 bce 1.06648 0.652182 0.726292
160 bce 0.39372 0.572067 0.791908
200 bce 0.308732 0.538149 0.82012
"""
FAST = """
20 contrastive 2.11101 0.77638 0.504857
40 contrastive 2.07736 0.771178 0.506157
60 bce 1.38181 0.702703 0.520675
80 bce 0.628596 0.827796 0.574211
100 bce 0.615557 0.700871 0.636224
"""


def check(word: str, figures: str, level: str = "bad", name: str = AV_SYNC) -> dict[str, str]:
    return {"name": name, "level": level, "word": word, "figures": figures, "note": ""}


IN_SYNC = [check("in sync", "correlation 0.72 at offset 0 frames", "good")]
LATE = [check("out of sync", "correlation 0.72 at offset 5 frames, by chance up to 0.46")]
OTHER = [check("no correlation", "correlation 0.05 at offset -14 frames, by chance up to 0.09")]
NOT_MEMORIZED = check("failed", "0% memorized after 30 steps", name=OVERFIT)
NOTHING = [NOT_MEMORIZED, check("silent audio", "144 of 144 clips")]
LITTLE = [check("too little", "0.4 min of 1 speaker, 8 clips", name=DATA_AMOUNT), *IN_SYNC]
MUON, LOW, HIGH = ("muon", 3e-3), ("muon", 3e-6), ("adam", 1.0)
ONE, FEW_OF_ONE = DataFacts(1, 13.8, True, 6.8), DataFacts(1, 0.4, True, 0.2)
STRANGERS = DataFacts(53, 5.9, False, 5.2, MEASURED, sync_clips=90, in_sync=0.95)


@pytest.mark.parametrize(
    ("recorded", "checks", "rate", "data", "level", "cause"),
    [
        pytest.param(GOOD, IN_SYNC, MUON, ONE, "good", "", id="good data"),
        pytest.param(
            MANY, IN_SYNC, MUON, STRANGERS, "bad", "too little speech", id="too little, many"
        ),
        pytest.param(FEW, LITTLE, MUON, FEW_OF_ONE, "fair", "too little speech", id="too little"),
        pytest.param(SHIFTED, LATE, MUON, ONE, "bad", f"{AV_SYNC}: out of sync", id="shifted"),
        pytest.param(SWAPPED, OTHER, MUON, ONE, "bad", f"{AV_SYNC}: no correlation", id="swapped"),
        pytest.param(SILENT, NOTHING, MUON, ONE, "bad", f"{AV_SYNC}: silent audio", id="silent"),
        pytest.param(
            FAST, IN_SYNC, HIGH, ONE, "fair", "the learning rate is too high", id="too high"
        ),
        pytest.param(SLOW, IN_SYNC, LOW, ONE, "bad", "the learning rate is too low", id="too low"),
    ],
)
def test_the_planted_cause_is_named_first(recorded, checks, rate, data, level, cause):
    names = ("step", "phase", "train_loss", "val_loss", "val_auc")
    rows = [dict(zip(names, line.split(), strict=True)) for line in recorded.split("\n") if line]
    data_check, (optimizer, lr) = {"checks": checks}, rate
    steps = int(rows[-1]["step"])
    run = RunInfo(
        SyncNetConfig(steps=steps, windows_per_clip=8, optimizer=optimizer, lr=lr),
        data,
        data_faults=data_faults(data_check),
        constant_offset=has_constant_offset(data_check),
    )
    found = diagnosis.diagnose(rows, run)
    assert found.level == level, found
    assert found.text.partition("Likely cause: ")[2].startswith(cause), found
    assert ("Likely cause" in found.text) == bool(cause)
