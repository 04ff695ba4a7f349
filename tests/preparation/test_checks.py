from __future__ import annotations

import pytest

from lipsync_core.config import CheckConfig
from lipsync_core.config.preparation import CHECK_PRESETS
from lipsync_core.errors import ClipError
from lipsync_core.preparation.checks import THRESHOLDS, check, derived

GOOD = {
    "frames": "50",
    "seconds": "2.0",
    "audio_seconds": "2.04",
    "loudness": "-20",
    "faces": "49",
    "face_px": "90",
    "silence_ratio": "0.4",
    "clipping_ratio": "0",
    "sharpness": "80",
    "brightness": "120",
    "head_speed": "0.7",
    "audio_kind": "speech",
    "speech_seconds": "1.6",
    "speech_ratio": "0.8",
    "longest_pause": "0.3",
    "signal_mos": "3.2",
    "background_mos": "3.5",
    "overall_mos": "2.8",
    "yaw_p95": "20",
    "pitch_p95": "12",
    "roll_p95": "6",
    "size_change": "0.1",
    "tracks": "1",
    "sync_offset": "-1",
    "sync_confidence": "4.2",
}
LIMITS = CheckConfig(
    min_seconds=0.64,
    max_seconds=60,
    min_coverage=0.8,
    min_face_px=48,
    min_loudness=-60,
    max_length_difference=1.0,
    max_silence=0.95,
    max_clipping=0.05,
    min_sharpness=4,
    min_brightness=8,
    max_brightness=250,
    max_head_speed=5,
    max_tracks=2,
    min_speech=0.05,
    min_speech_ratio=0.2,
    max_pause=1.5,
    min_signal_mos=2,
    min_background_mos=2,
    min_overall_mos=2,
    max_yaw=30,
    max_pitch=25,
    max_roll=20,
    max_size_change=0.25,
    max_sync_offset=3,
    min_sync_confidence=1,
)


def test_good_clip_passes():
    check(GOOD | derived(GOOD), LIMITS)


@pytest.mark.parametrize(
    ("measure", "reason"),
    [
        ({"frames": "15"}, "too_short"),
        ({"seconds": "0.5", "audio_seconds": "0.5"}, "too_short"),
        ({"seconds": "61", "audio_seconds": "61"}, "too_long"),
        ({"audio_seconds": "0.9"}, "length_mismatch"),
        ({"audio_seconds": "3.1"}, "length_mismatch"),
        ({"frames": "24", "faces": "24"}, "length_mismatch"),
        ({"faces": "39"}, "low_coverage"),
        ({"face_px": "47"}, "small_face"),
        ({"loudness": "-61"}, "silent"),
        ({"silence_ratio": "0.96"}, "silent"),
        ({"clipping_ratio": "0.06"}, "clipped"),
        ({"sharpness": "3.9"}, "blurred"),
        ({"brightness": "7"}, "too_dark"),
        ({"brightness": "251"}, "too_bright"),
        ({"head_speed": "5.1"}, "excessive_motion"),
        ({"tracks": "3"}, "multiple_faces"),
        ({"speech_seconds": "0"}, "no_speech"),
        ({"speech_ratio": "0.1"}, "no_speech"),
        ({"longest_pause": "1.6"}, "long_pause"),
        ({"signal_mos": "1.9"}, "noisy"),
        ({"background_mos": "1.9"}, "noisy"),
        ({"overall_mos": "1.9"}, "noisy"),
        ({"yaw_p95": "31"}, "head_pose"),
        ({"pitch_p95": "26"}, "head_pose"),
        ({"roll_p95": "21"}, "head_pose"),
        ({"size_change": "0.26"}, "size_change"),
        ({"sync_offset": "-4"}, "out_of_sync"),
        ({"sync_offset": "4"}, "out_of_sync"),
        ({"sync_confidence": "0.9"}, "out_of_sync"),
    ],
)
def test_each_reason(measure, reason):
    with pytest.raises(ClipError) as caught:
        check(GOOD | derived(GOOD | measure) | measure, LIMITS)
    assert caught.value.reason == reason


def test_limits_that_are_off_and_measures_that_are_missing():
    off = LIMITS.model_copy(update={"max_tracks": None, "max_head_speed": None})
    check(GOOD | derived(GOOD) | {"tracks": "9", "head_speed": "99"}, off)
    few = {name: GOOD[name] for name in ("frames", "seconds", "audio_seconds", "faces")}
    check(few | derived(few) | {"sharpness": ""}, LIMITS)


def test_every_limit_is_a_key_of_the_config():
    assert {threshold.key for threshold in THRESHOLDS} <= CheckConfig.model_fields.keys()
    normal = CheckConfig()
    check(GOOD | derived(GOOD) | {"tracks": "3", "head_speed": "3", "sync_offset": "9"}, normal)


def test_presets():
    assert CheckConfig(preset="lenient") == CheckConfig()
    strict = CheckConfig(preset="strict")
    assert (strict.max_yaw, strict.max_pitch, strict.max_roll) == (30, 25, 20)
    assert CheckConfig(preset="strict", max_yaw=60).max_yaw == 60
    assert CheckConfig(preset="strict", max_yaw=None).max_yaw is None
    assert CheckConfig(**strict.model_dump()) == strict
    assert CheckConfig.model_validate("talkvid") == CheckConfig(preset="talkvid")
    for name, keys in CHECK_PRESETS.items():
        assert CheckConfig.model_validate(name).model_dump() == (
            CheckConfig().model_dump() | {"preset": name} | keys
        )
