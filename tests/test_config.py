"""config/, runtime/config_file.py, runtime/config_reference.py and the presets."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from pydantic import BaseModel

from lipsync_core.config import Config
from lipsync_core.errors import LipsyncError
from lipsync_core.runtime import config_file, config_reference

PRESETS = ["demo", "finetune", "full", "hd192", "hd288", "hd384", "one_speaker"]


def test_a_config_is_read_again_as_it_was_written():
    given = {"crop": {"quality": 50}, "generator": {"wav2lip_gan": {"steps": 5}}}
    loaded = config_file.validate(given)
    assert config_file.validate(loaded.model_dump(exclude_none=True)) == loaded
    assert json.loads(json.dumps(loaded.model_dump())) == loaded.model_dump()


def test_given_values_win():
    given = {"crop": {"quality": 50}}
    assert config_file.validate(given).crop.model_dump() == {
        "pads": [0] * 4,
        "mode": "box",
        "margin": 0,
        "size": 192,
        "quality": 50,
    }
    assert given == {"crop": {"quality": 50}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"detcetor": "s3fd"}, "unknown key 'detcetor'; did you mean 'detector'?"),
        ({"detector": "mtcnn"}, "detector: got 'mtcnn'; allowed: auto | s3fd | centerface"),
        ({"shards": "many"}, "shards: got 'many'; allowed: integer, at least 1"),
        ({"shards": 0}, "shards: got 0; allowed: integer, at least 1, at most 4096"),
        ({"shards": None}, "shards: got None; allowed: integer"),
        ({"device": "gpu"}, "device: got 'gpu'; allowed: string, matching"),
        ({"data_root": ["a"]}, "data_root: got ['a']; allowed: string"),
        ({"image_size": 100}, "image_size: got 100; allowed: 96 | 192 | 288 | 384"),
        ({"detect": {"strid": 1}}, "unknown key 'detect.strid'; did you mean 'stride'?"),
        ({"detect": {"threshold": 1}}, "detect.threshold: got 1; allowed: number, more than 0, l"),
        ({"detect": {"stride": 2.5}}, "detect.stride: got 2.5; allowed: integer, at least 1"),
        ({"track": {"selects": "all"}}, "unknown key 'track.selects'; did you mean 'select'?"),
        ({"track": {"select": "speaking"}}, "got 'speaking'; allowed: largest | longest | all | a"),
        ({"track": {"max_gap": -1}}, "track.max_gap: got -1; allowed: integer, at least 0"),
        (
            {"track": {"smooth": "9"}},
            "track.smooth: got '9'; allowed: integer, at least 0, at most 101",
        ),
        (
            {"crop": {"quality": 101}},
            "crop.quality: got 101; allowed: integer, at least 1, at most",
        ),
        ({"crop": None}, "crop: got None; allowed: object"),
        ({"crop": {"sise": 1}}, "unknown key 'crop.sise'; did you mean 'size'?"),
        ({"crop": {"pads": [0, 0]}}, "crop.pads: got [0, 0]; allowed: array, entries: 4 or more"),
        ({"crop": {"pads": [0, 0, "a", 0]}}, "crop.pads[2]: got 'a'; allowed: integer"),
        ({"check": {"min_blur": 1}}, "unknown key 'check.min_blur'; did you mean"),
        ({"check": "talkvod"}, "check.preset: got 'talkvod'; allowed: lenient | talkvid | strict"),
        ({"audio": {"dnsmos": "some"}}, "audio.dnsmos: got 'some'; allowed: sample | all | off"),
        ({"check": {"max_silence": 2}}, "check.max_silence: got 2; allowed: number, at least 0"),
        ({"check": {"max_tracks": "1"}}, "check.max_tracks: got '1'; allowed: integer, at least 1"),
        ({"split": {"vla": 0.1}}, "unknown key 'split.vla'; did you mean 'val'?"),
        ({"split": {"val": 1}}, "split.val: got 1; allowed: number, at least 0, at most 0.9"),
        ({"split": {"partial_lists": "no"}}, "split.partial_lists: got 'no'; allowed: boolean"),
        ({"syncnet": {"los": "bce"}}, "unknown key 'syncnet.los'; did you mean 'loss'?"),
        ({"syncnet": {"loss": "hinge"}}, "syncnet.loss: got 'hinge'; allowed: contrastive+bce | c"),
        ({"syncnet": {"optimizer": "sgd"}}, "syncnet.optimizer: got 'sgd'; allowed: muon | adam"),
        ({"syncnet": {"lr": 0}}, "syncnet.lr: got 0; allowed: number, at most 1, more than 0"),
        ({"syncnet": {"steps": "100"}}, "syncnet.steps: got '100'; allowed: integer, at least 1"),
        ({"syncnet": {"data_check": True}}, "data_check: got True; allowed: warn | stop | off"),
        ({"syncnet": {"augment": {"flip": 1}}}, "unknown key 'syncnet.augment.flip'; did you mean"),
        ({"syncnet": {"augment": {"vtlp": 2}}}, "syncnet.augment.vtlp: got 2; allowed: number"),
        ({"generator": {"bach_size": 1}}, "unknown key 'generator.bach_size'; did you mean 'batch"),
        ({"generator": {"mel_offset": 1}}, "generator.mel_offset: got 1; allowed: -1 | 0"),
        ({"generator": {"variants": []}}, "generator.variants: got []; allowed: array, entries: 1"),
        (
            {"generator": {"syncnet_batchnorm": "train"}},
            "generator.syncnet_batchnorm: got 'train'; allowed: eval | batch",
        ),
        (
            {"generator": {"wav2lip_gan": {"adv_wait": 0.1}}},
            "unknown key 'generator.wav2lip_gan.adv_wait'; did you mean 'adv_weight'?",
        ),
        (
            {"generator": {"wav2lip": {"lr": "fast"}}},
            "generator.wav2lip.lr: got 'fast'; allowed: number",
        ),
        ({"evaluate": {"windows": 8}}, "unknown key 'evaluate.windows'; did you mean 'windows_per"),
        (
            {"evaluate": {"generator_windows": 0}},
            "evaluate.generator_windows: got 0; allowed: inte",
        ),
        (
            {"evaluate": {"windows_per_clip": 9.5}},
            "evaluate.windows_per_clip: got 9.5; allowed: int",
        ),
        (
            {"sync": {"correct": "yes"}},
            "sync.correct: got 'yes'; allowed: off | measure | correct",
        ),
        ({"sync": {"min_agreement": 2}}, "sync.min_agreement: got 2; allowed: "),
        ({"dub": [{"pads": [0, 0, 0, 5000]}]}, "dub[0].pads[3]: got 5000; allowed: integer, at"),
        ({"dub": [{"output": "../x.mp4"}]}, "dub[0].output: got '../x.mp4'"),
        ({"dub": [{"fase": "x.png"}]}, "unknown key 'dub[0].fase'; did you mean 'face'?"),
        ({"dub": [{"fps": "fast"}]}, "dub[0].fps: got 'fast'; allowed: source or number"),
        ({"dub": {"face": "x.png"}}, "dub: got {'face': 'x.png'}; allowed: array"),
    ],
)
def test_mistakes_in_one_line(given, message):
    with pytest.raises(LipsyncError) as caught:
        config_file.validate(given)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_every_section_has_a_tested_mistake():
    cases = test_mistakes_in_one_line.pytestmark[0].args[1]
    tried = {key for given, _ in cases for key in given}
    sections = {key for key, value in Config() if isinstance(value, BaseModel) or key == "dub"}
    assert sections <= tried


def test_all_mistakes_at_once():
    with pytest.raises(LipsyncError) as caught:
        config_file.validate({"shards": 0, "seed": -1})
    assert len(str(caught.value).splitlines()) == 2


def test_every_key_is_described():
    schema = config_reference.json_schema()
    for section in (schema, *schema["$defs"].values()):
        for key, part in section["properties"].items():
            value = config_file.dereference(schema, part)
            assert part.get("description") or value.get("description"), key


def test_generated_files_are_those_of_the_models(root):
    """After a change: `python -m lipsync_core.runtime.config_reference`."""
    assert (root / config_reference.SCHEMA).read_text() == config_reference.schema_text()
    assert (root / config_reference.PAGE).read_text() == config_reference.page_text()


def test_a_bare_off_is_a_word():
    assert config_file.validate(yaml.safe_load("sync: {correct: off}")).sync.correct == "off"
    assert config_file.validate(
        yaml.safe_load("syncnet: {data_check: off}")
    ).syncnet.data_check == ("off")


def test_numbers_may_have_an_exponent_without_a_point():
    given = yaml.safe_load("{syncnet: {lr: 1e-4}, generator: {wav2lip: {lr: 3E-5}}}")
    loaded = config_file.validate(given)
    assert (loaded.syncnet.lr, loaded.generator.variant("wav2lip").lr) == (1e-4, 3e-5)
    with pytest.raises(LipsyncError, match=r"syncnet\.steps: got '1e3'; allowed: integer"):
        config_file.validate(yaml.safe_load("syncnet: {steps: 1e3}"))


def test_gan_settings_survive_a_users_own():
    generator = config_file.validate({"generator": {"wav2lip_gan": {"steps": 5}}}).generator
    assert generator.wav2lip_gan.model_dump(exclude_none=True) == {
        "steps": 5,
        "pretrained": "wav2lip",
        "adv_weight": 0.06,
    }
    assert generator.wav2lip.model_dump(exclude_none=True) == {}


def test_a_variants_keys_win_over_the_common_ones():
    given = {"steps": 7, "lr": 0.1, "wav2lip": {"lr": 0.2, "augment": {"hflip": True}}}
    generator = config_file.validate({"generator": given}).generator
    found = {name: generator.variant(name) for name in ("wav2lip", "wav2lip_gan")}
    assert [(one.steps, one.lr, one.augment.hflip) for one in found.values()] == [
        (7, 0.2, True),
        (7, 0.1, False),
    ]
    assert (found["wav2lip"].adv_weight, found["wav2lip_gan"].adv_weight) == (0, 0.06)


def merged(root, preset):
    main = yaml.safe_load((root / "config/config.yaml").read_text())
    return config_file.load(main | {"preset": preset}, root / "config/presets")


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_over_the_shipped_config(root, preset):
    assert merged(root, preset).preset == preset


def test_every_preset_is_tested_and_documented(root):
    assert sorted(path.stem for path in (root / "config/presets").glob("*.yaml")) == PRESETS
    offered = (root / "config/config.yaml").read_text()
    assert all(name in offered for name in PRESETS)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "demo"])
def test_keys_missing_from_a_preset_are_defaults(root, preset):
    named = yaml.safe_load((root / f"config/presets/{preset}.yaml").read_text())
    found, defaults = merged(root, preset), Config()
    for section in ("syncnet", "generator"):
        for key, value in getattr(defaults, section):
            if key not in named[section]:
                assert getattr(getattr(found, section), key) == value, f"{section}.{key}"


def test_user_keys_win_over_the_preset(root):
    given = {"preset": "demo", "syncnet": {"steps": 7}}
    below = yaml.safe_load((root / "config/presets/demo.yaml").read_text())
    above = config_file.with_preset(given, root / "config/presets")
    assert above["syncnet"] == below["syncnet"] | {"steps": 7}
    assert above["generator"] == below["generator"]
    assert config_file.with_preset({"seed": 1}, root / "config/presets") == {"seed": 1}


def test_an_unknown_preset_names_the_nearest(root):
    with pytest.raises(
        LipsyncError, match="got 'finetun'; did you mean 'finetune'\\? allowed: demo"
    ):
        config_file.with_preset({"preset": "finetun"}, root / "config/presets")


def test_crops_are_never_enlarged(root):
    presets = root / "config/presets"
    with pytest.raises(LipsyncError, match=r"crop.size: 192 .* image_size: 288.*crop.size: 288"):
        config_file.load({"image_size": 288}, presets)
    config_file.load({"image_size": 192}, presets)
    config_file.load({"image_size": 288, "layout": "wav2lip"}, presets)


def test_aligned_crops_need_landmarks():
    config_file.check_crop_mode("aligned", "centerface")
    with pytest.raises(LipsyncError, match="needs landmarks, and s3fd finds none"):
        config_file.check_crop_mode("aligned", "s3fd")


def test_shipped_overlays_are_valid(root):
    for path in sorted((root / "config").glob("*.yaml")):
        config_file.validate(yaml.safe_load(path.read_text()))


def test_the_second_judge_learns_from_nothing(root):
    config = merged(root, "finetune")
    judge, syncnet = config.second_judge(), config.syncnet
    assert (syncnet.loss, syncnet.optimizer, syncnet.lr) == ("bce", "adam", 1e-4)
    assert (judge.pretrained, judge.loss, judge.optimizer) == ("", "contrastive+bce", "muon")
    assert (judge.steps, judge.lr, judge.lr_schedule) == (1700, 2e-3, "cosine")
    assert (judge.width, judge.num_workers) == (syncnet.width, syncnet.num_workers)
    demo = merged(root, "demo")
    assert demo.second_judge().lr == demo.syncnet.lr
    assert demo.second_judge().augment.translate > demo.syncnet.augment.translate


def test_what_each_preset_resolves_to(root):
    """A change here changes what users train: see it, then store it with REWRITE_GOLDEN=1."""
    golden = root / "tests/golden/presets.json"
    found = {preset: merged(root, preset).model_dump(exclude_none=True) for preset in PRESETS}
    if os.environ.get("REWRITE_GOLDEN"):
        golden.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(golden.read_text())
