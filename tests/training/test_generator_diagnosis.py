"""Diagnosis of a generator: progress, and planted flaws of the mouths named in words."""

import pytest

from lipsync_core.training.generator_diagnosis import color_drift, diagnose_generator

HEALTHY = {
    **{"val_l1": 0.03, "val_l1_reference": 0.05, "sync_weight": 0.03},
    **{"val_sync_loss": 0.4, "val_sync_loss_gt": 0.2, "val_sharpness_ratio": 0.7},
    **{"val_color_shift_b": 0.5, "val_color_shift_g": -0.4, "val_color_shift_r": 0.1},
    **{"val_stripes": 1.1, "val_l1_shuffled_ratio": 1.2, "val_silent_lip_motion_ratio": 0.2},
}


def ended(steps=1200, **planted):
    """The diagnosis at the end of a run with planted values."""
    rows = [{"step": n, **HEALTHY, **planted} for n in (steps // 3, 2 * steps // 3, steps)]
    return diagnose_generator(rows, steps)


@pytest.mark.parametrize(
    ("l1", "weight", "sync", "truth", "word"),
    [
        (0.06, 0, 0.5, 0.2, "no better than the reference"),
        (0.04, 0.01, 0.9, 0.8, "SyncNet too weak"),
        (0.04, 0, 0.9, 0.2, "sync loss not used yet"),
        (0.04, 0.01, 0.4, 0.2, "done"),
    ],
)
def test_diagnoses_of_generators(l1, weight, sync, truth, word):
    last = {"val_l1": l1, "val_l1_reference": 0.05, "sync_weight": weight}
    last |= {"val_sync_loss": sync, "val_sync_loss_gt": truth}
    rows = [{"step": n, **last} for n in (1000, 2000, 3000)]
    assert diagnose_generator(rows, 3000).word == word


@pytest.mark.parametrize(
    ("weights", "words"), [((0, 0.01), "used too early"), ((0, 0), "lower `lr`")]
)
def test_a_generator_that_regressed(weights, words):
    rows = [
        {"step": 500, "val_l1": 0.06, "val_l1_reference": 0.07, "sync_weight": 0},
        {"step": 1000, "val_l1": 0.045, "val_l1_reference": 0.07, "sync_weight": weights[0]},
        {"step": 1250, "val_l1": 0.065, "val_l1_reference": 0.07, "sync_weight": weights[1]},
    ]
    found = diagnose_generator(rows, 3000)
    assert found.word == "regressed" and words in found.text
    assert "at step 1000 it was 0.045" in found.text
    rows[-1]["val_l1"] = 0.05
    assert diagnose_generator(rows, 3000).word == "learning"


def test_a_generator_that_ends_out_of_sync_is_not_done():
    last = {"val_l1": 0.03, "val_l1_reference": 0.05, "sync_weight": 0.01, "val_sync_loss": 1.43}
    rows = [{"step": n, **last, "val_sync_loss_gt": 0.19} for n in (1000, 2000, 3000)]
    found = diagnose_generator(rows, 3000)
    assert (found.level, found.word) == ("fair", "not in sync yet")
    assert "1.43" in found.text and "ground truth 0.19" in found.text


def test_a_healthy_end_is_good():
    assert (ended().level, ended().word) == ("good", "done")


@pytest.mark.parametrize(
    ("planted", "word", "text"),
    [
        (
            {"val_color_shift_g": -6.0, "val_color_shift_r": -0.3},
            "wrong colors",
            "the mouths are tinted magenta: mean green is 6.0 of 255 too low. Train for more",
        ),
        (
            {"val_color_shift_g": -6.0, "train_adv_loss": 1.0},
            "wrong colors",
            "Lower `adv_weight` or `lr`",
        ),
        ({"val_sharpness_ratio": 0.18}, "blurred", "18% of the sharpness of the ground truth"),
        ({"val_stripes": 2.7}, "stripes", "have 1.7 times the energy of the true detail"),
        (
            {"val_silent_lip_motion_ratio": 0.63},
            "moves in silence",
            "move 63% as much as in speech",
        ),
        (
            {"val_l1_shuffled_ratio": 1.03},
            "hardly uses the audio",
            "with the audio of other windows L1 is only 3.0% higher. Raise `sync_weight`",
        ),
    ],
)
def test_a_planted_flaw_is_named_in_words(planted, word, text):
    found = ended(**planted)
    assert (found.level, found.word) == ("fair", word)
    assert text in found.text and text in found.advice


def test_several_flaws_are_all_named():
    found = ended(val_stripes=2, val_sharpness_ratio=0.2, val_sync_loss=0.9)
    assert found.word == "not in sync yet"
    for words in ("the sync loss is 0.90", "stripes of 2 or 4 pixels", "the mouths are blurred"):
        assert words in found.figures
    assert "too few steps with the sync loss" in found.note and "Stripes fade" in found.note


def test_the_look_is_not_rated_in_the_first_half():
    rows = [{"step": n, **HEALTHY, "val_sharpness_ratio": 0.1} for n in (100, 200, 300)]
    assert diagnose_generator(rows, 1200).word == "learning"
    assert diagnose_generator(rows, 600).word == "blurred"


def test_a_short_run_is_rated_at_its_end():
    rows = [{"step": n, **HEALTHY, "val_color_shift_g": -6.0} for n in (100, 200)]
    assert diagnose_generator(rows, 200).word == "wrong colors"
    assert diagnose_generator(rows, 2000).level == "none"
    assert diagnose_generator([], 200).level == "none"


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        ((0, 6, 0), "tinted green: mean green is 6.0 of 255 too high"),
        ((5, 1, 0), "tinted blue: mean blue is 5.0 of 255 too high"),
        ((-5, 1, 0), "tinted yellow: mean blue is 5.0 of 255 too low"),
        ((-1, 0, 4), "tinted red"),
        ((0, 0, -4), "tinted cyan"),
        ((-7, -6, -7), "too dark: mean blue is 7.0 of 255 too low, mean red is 7.0 of 255 too low"),
        ((6, 6, 7), "too bright"),
        ((1.9, -1.9, 1.9), ""),
    ],
)
def test_colors_have_names(shift, words):
    row = {f"val_color_shift_{name}": value for name, value in zip("bgr", shift, strict=True)}
    assert words in color_drift(row) and bool(words) == bool(color_drift(row))
    assert color_drift({}) == ""


@pytest.mark.parametrize(
    ("weights", "words"),
    [((0.03, 0.3), "it grew from 0.03 to 0.3"), ((0.03, 0.03), "lower `lr` or `grad_clip`")],
)
def test_a_sync_loss_that_explodes_after_the_ramp(weights, words):
    rows = [
        {"step": 100 * n, **HEALTHY, "sync_weight": weight, "val_sync_loss": loss}
        for n, (weight, loss) in enumerate(
            [(0, 3.0), (0.01, 1.5), (weights[0], 0.6), (weights[1], 1.6)]
        )
    ]
    found = diagnose_generator(rows, 3000)
    assert (found.level, found.word) == ("bad", "loses sync") and words in found.text
    assert "the sync loss is 1.60; at step 200 it was 0.60" in found.text
    # While it is not used it may do anything.
    assert diagnose_generator([r | {"sync_weight": 0} for r in rows], 3000).word == "learning"
