from __future__ import annotations

import pytest
import yaml

from lipsync_core import config
from lipsync_core.errors import LipsyncError


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
    assert config.complete(given, schema)["crop"] == {"pads": [0] * 4, "size": 192, "quality": 50}
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
        for key, value in part.get("properties", {}).items():
            if value.get("type") == "object":
                yield from settings(value, f"{name}{key}.")
            else:
                yield f"{name}{key}", value

    for name, value in settings(schema):
        assert "default" in value, name
        assert "description" in value, name


def test_shipped_configs_are_valid(root, schema):
    main = yaml.safe_load((root / "config/config.yaml").read_text())
    config.complete(main, schema)
    for path in sorted((root / "config").glob("*.yaml")):
        config.complete(yaml.safe_load(path.read_text()), schema)
