from __future__ import annotations

from dataclasses import fields

import pytest
import yaml

from lipsync_core import config
from lipsync_core.errors import LipsyncError
from lipsync_core.training.expert import ExpertOptions
from lipsync_core.training.generator import GeneratorOptions
from lipsync_core.training.loop import LoopOptions


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


def test_shipped_configs_are_valid(root, schema):
    main = yaml.safe_load((root / "config/config.yaml").read_text())
    config.complete(main, schema)
    for path in sorted((root / "config").glob("*.yaml")):
        config.complete(yaml.safe_load(path.read_text()), schema)
