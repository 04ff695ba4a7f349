from __future__ import annotations

import json
import os
from dataclasses import fields

import pytest
import yaml

from lipsync_core import config
from lipsync_core.errors import LipsyncError
from lipsync_core.training.engine.loop import LoopOptions
from lipsync_core.training.generator import GeneratorOptions
from lipsync_core.training.syncnet import ExpertOptions


@pytest.fixture(scope="module")
def schema(root):
    return config.load_schema(root / "workflow/schemas/config.schema.yaml")


def test_defaults_are_filled_in_and_valid(schema):
    filled = config.complete({}, schema)
    assert filled["crop"]["quality"] == 95
    assert filled["dub"][0]["output"] == "result_voice.mp4"
    assert config.complete(filled, schema) == filled


def test_given_values_win(schema):
    given = {"crop": {"quality": 50}}
    assert config.complete(given, schema)["crop"] == {
        "pads": [0] * 4,
        "mode": "box",
        "margin": 0,
        "size": 192,
        "quality": 50,
    }
    assert given == {"crop": {"quality": 50}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"detcetor": "s3fd"}, "unknown key 'detcetor'; did you mean 'detector'?"),
        ({"crop": {"sise": 1}}, "unknown key 'crop.sise'; did you mean 'size'?"),
        ({"detector": "mtcnn"}, "detector: got 'mtcnn'; allowed: auto | s3fd | centerface"),
        ({"shards": "many"}, "shards: got 'many'; allowed: integer, at least 1"),
        ({"shards": 0}, "shards: got 0; allowed: integer, at least 1"),
        ({"shards": None}, "shards: got None; allowed: integer"),
        ({"crop": None}, "crop: got None; allowed: object"),
        ({"crop": {"pads": [0, 0]}}, "crop.pads: got [0, 0]"),
        ({"crop": {"pads": [0, 0, "a", 0]}}, "crop.pads[2]: got 'a'; allowed: integer"),
        ({"device": "gpu"}, "device: got 'gpu'"),
        ({"dub": [{"output": "../x.mp4"}]}, "dub[0].output: got '../x.mp4'"),
        ({"dub": [{"fase": "x.png"}]}, "unknown key 'dub[0].fase'"),
        ({"data_root": ["a"]}, "data_root: got ['a']; allowed: string"),
    ],
)
def test_mistakes_in_one_line(schema, given, said):
    with pytest.raises(LipsyncError) as caught:
        config.complete(given, schema)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_all_mistakes_at_once(schema):
    with pytest.raises(LipsyncError) as caught:
        config.complete({"shards": 0, "seed": -1}, schema)
    assert len(str(caught.value).splitlines()) == 2


def test_every_setting_is_described(schema):
    def settings(part, name=""):
        defaults = part.get("x-defaults", {})
        for key, value in part.get("properties", {}).items():
            if "properties" in value:
                yield from settings(value, f"{name}{key}.")
            else:
                given = "default" in value or key in defaults or part.get("x-overrides")
                yield f"{name}{key}", given, value

    for name, given, value in settings(schema):
        assert given, f"{name} has no default"
        assert "description" in value, name


@pytest.mark.parametrize(
    ("section", "kinds"),
    [("syncnet", (ExpertOptions, LoopOptions)), ("generator", (GeneratorOptions, LoopOptions))],
)
def test_options_of_the_code_are_those_of_the_schema(schema, section, kinds):
    names = {field.name for kind in kinds for field in fields(kind)} - {"image_size"}
    beyond = {"init", "disc_init", "variants", "wav2lip", "wav2lip_gan"}
    assert names == schema["properties"][section]["properties"].keys() - beyond


def test_gan_settings_survive_a_users_own(schema):
    filled = config.complete({"generator": {"wav2lip_gan": {"steps": 5}}}, schema)
    assert filled["generator"]["wav2lip_gan"] == {
        "steps": 5,
        "init": "wav2lip",
        "sync_weight": 0.03,
        "gan_weight": 0.07,
    }
    assert filled["generator"]["wav2lip"] == {}


def merged(root, schema, preset):
    main = yaml.safe_load((root / "config/config.yaml").read_text())
    return config.complete(
        config.with_preset(main | {"preset": preset}, root / "config/presets"), schema
    )


PRESETS = ["demo", "finetune", "full", "hd192", "hd288", "hd384", "one_speaker"]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_over_the_shipped_config(root, schema, preset):
    filled = merged(root, schema, preset)
    config.check_sizes(filled)
    assert filled["preset"] == preset


def test_every_preset_is_tried_and_offered(root, schema):
    assert sorted(path.stem for path in (root / "config/presets").glob("*.yaml")) == PRESETS
    offered = (root / "config/config.yaml").read_text()
    assert all(name in offered for name in PRESETS)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "demo"])
def test_what_a_preset_does_not_name_is_a_default(root, schema, preset):
    named = yaml.safe_load((root / f"config/presets/{preset}.yaml").read_text())
    filled, defaults = merged(root, schema, preset), config.complete({}, schema)
    for section in ("syncnet", "generator"):
        for key, value in defaults[section].items():
            if key not in named[section]:
                assert filled[section][key] == value, f"{section}.{key}"


def test_own_keys_win_over_the_preset(root):
    given = {"preset": "demo", "syncnet": {"steps": 7}}
    below = yaml.safe_load((root / "config/presets/demo.yaml").read_text())
    above = config.with_preset(given, root / "config/presets")
    assert above["syncnet"] == below["syncnet"] | {"steps": 7}
    assert above["generator"] == below["generator"]
    assert config.with_preset({"seed": 1}, root / "config/presets") == {"seed": 1}


def test_an_unknown_preset_names_the_nearest(root):
    with pytest.raises(
        LipsyncError, match="got 'finetun'; did you mean 'finetune'\\? allowed: demo"
    ):
        config.with_preset({"preset": "finetun"}, root / "config/presets")


def test_crops_are_never_enlarged(schema):
    filled = config.complete({"image_size": 288}, schema)
    with pytest.raises(LipsyncError, match=r"crop.size: 192 .* image_size: 288.*crop.size: 288"):
        config.check_sizes(filled)
    config.check_sizes(config.complete({"image_size": 192}, schema))
    config.check_sizes(filled | {"layout": "wav2lip"})


def test_shipped_overlays_are_valid(root, schema):
    for path in sorted((root / "config").glob("*.yaml")):
        config.complete(yaml.safe_load(path.read_text()), schema)


def test_what_each_preset_resolves_to(root, schema):
    """A change here changes what users train: see it, then store it with REWRITE_GOLDEN=1."""
    golden = root / "tests/golden/presets.json"
    found = {preset: merged(root, schema, preset) for preset in PRESETS}
    if os.environ.get("REWRITE_GOLDEN"):
        golden.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(golden.read_text())
