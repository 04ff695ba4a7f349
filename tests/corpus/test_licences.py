from __future__ import annotations

import json
from pathlib import Path

import pytest

from lipsync_core.config import Config
from lipsync_core.corpus import licences
from lipsync_core.corpus.clips import Clip
from lipsync_core.corpus.collection import Corpus
from lipsync_core.corpus.layouts import LAYOUTS
from lipsync_core.errors import LipsyncError

CORPORA = [Corpus("a", Path("x"), "grid"), Corpus("", Path("videos"), "speaker_folders")]


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        *((name, True) for name in ("CC-BY-4.0", "cc by 4.0", "CC-BY-SA-4.0", "CC0-1.0", "MIT")),
        *((name, True) for name in ("own", "own, with consent", "commercial: contract 7")),
        *((name, True) for name in ("public domain (demo)", "Apache-2.0")),
        *((name, False) for name in ("", "who knows", "Owned by someone", "CC-BY-NC-4.0")),
        *((name, False) for name in ("research only (BBC)", "CC BY NC SA 4.0", "MIT, research")),
    ],
)
def test_what_allows_commercial_use(licence, allowed):
    assert licences.allows_commercial(licence) == allowed


def test_the_known_corpora():
    allowed = {name for name in LAYOUTS if licences.allows_commercial(LAYOUTS[name].licence)}
    assert allowed == {"hdtf", "grid", "avspeech"}
    assert {name for name in LAYOUTS if not LAYOUTS[name].licence} == {
        *("speaker_folders", "wav2lip", "manifest")
    }


def clip(corpus: str, licence: str) -> Clip:
    return Clip("s/1", "s", 0, "1", "1", "p", corpus=corpus, licence=licence)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([clip("a", "research only")], r"1 clips of corpus 'a' are under 'research only'; remove"),
        (
            [clip("", "MIT"), clip("", "")],
            r"1 clips of data_root 'videos' have no known licence",
        ),
    ],
)
def test_refused_clips_name_their_corpus(found, message):
    with pytest.raises(LipsyncError, match=message) as caught:
        licences.check_clips(found, CORPORA)
    assert len(str(caught.value).splitlines()) == 1
    assert "`licences: any`" in str(caught.value)
    licences.check_clips([clip("a", "MIT"), clip("", "own")], CORPORA)


def test_all_weights_of_a_config():
    config = Config(
        sync={"model": "m/syncnet_v2.model"},
        syncnet={"pretrained": "m/lipsync_expert.pth"},
        generator={
            "variants": ["wav2lip", "wav2lip_gan"],
            "wav2lip": {"pretrained": "m/wav2lip.pth"},
            "wav2lip_gan": {"disc_pretrained": "m/visual_quality_disc.pth"},
        },
        dub=[{"checkpoint": "m/wav2lip_gan.pth"}, {"output": "b.mp4"}],
    )
    assert licences.weights_of(config, "s3fd") == {
        "syncnet.pretrained": "m/lipsync_expert.pth",
        "sync.model": "m/syncnet_v2.model",
        "detector": "models/s3fd.pth",
        "generator.wav2lip.pretrained": "m/wav2lip.pth",
        "generator.wav2lip_gan.disc_pretrained": "m/visual_quality_disc.pth",
        "dub[0].checkpoint": "m/wav2lip_gan.pth",
    }
    assert licences.weights_of(Config(), "centerface") == {}
    bundled = licences.weights_of(Config(syncnet={"pretrained": "demo"}), "centerface")
    assert Path(bundled["syncnet.pretrained"]).is_file()
    licences.check_weights(bundled)  # free of restrictions, by the card beside it


def test_refused_weights_are_named(tmp_path):
    own = tmp_path / "checkpoint.pth"
    for path, why in (("models/wav2lip.pth", "research and personal"), (own, "have no known lic")):
        with pytest.raises(LipsyncError, match=f"{Path(path).name} .`syncnet.pretrained`.*{why}"):
            licences.check_weights({"syncnet.pretrained": str(path)})
    card = tmp_path / licences.CARD
    card.write_text(json.dumps({"licence": "CC-BY-4.0 AND MIT"}))
    licences.check_weights({"syncnet.pretrained": str(own)})
    card.write_text("[]")
    with pytest.raises(LipsyncError, match="not a model card"):
        licences.check_weights({"syncnet.pretrained": str(own)})


def test_what_is_made_of_several_has_the_strictest():
    assert licences.combined(["MIT", "CC-BY-4.0", "MIT"]) == "CC-BY-4.0 AND MIT"
    assert licences.combined(["MIT", "research only"]) == "research only"
    assert licences.combined(["MIT", ""]) == ""
