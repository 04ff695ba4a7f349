"""What visitors may upload, and what they are told."""

from __future__ import annotations

import PIL.Image
import pytest

from lipsync_core.errors import ClipError, LipsyncError, Reason
from lipsync_core.serve.uploads import Limits, check_face, check_sound, polite, safe_name
from tests.support.media import write_video, write_wav


@pytest.mark.parametrize(
    "name", ["", "../x.mp4", "/etc/passwd", "a\\b.mp4", "..", ".hidden", "-rf.mp4", "a\nb.mp4"]
)
def test_names_that_are_paths_are_refused(name):
    with pytest.raises(LipsyncError, match="rename it"):
        safe_name(name)


def test_usual_names_are_kept_and_long_ones_cut():
    assert safe_name("Моё видео (1).MP4") == "Моё видео (1).MP4"
    cut = safe_name("ä" * 200 + ".mp4")
    assert cut.endswith("ä.mp4") and len(cut.encode()) <= 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    write_video(folder / "clip.mp4", 1.2)
    write_video(folder / "mute.mp4", 0.4, sound=False)
    write_wav(folder / "voice.wav", 2.0)
    PIL.Image.new("RGB", (64, 48)).save(folder / "face.png")
    PIL.Image.new("1", (9000, 9000)).save(folder / "bomb.png")
    PIL.Image.new("1", (16_000, 16_000)).save(folder / "vast.png")
    (folder / "text.mp4").write_text("no video at all" * 99)
    (folder / "empty.mp4").touch()
    (folder / "half.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:2000])
    return folder


@pytest.mark.parametrize("name", ["clip.mp4", "mute.mp4", "face.png"])
def test_faces_are_taken(name, folder):
    check_face(folder / name, Limits())


@pytest.mark.parametrize("name", ["clip.mp4", "voice.wav"])
def test_sounds_are_taken(name, folder):
    check_sound(folder / name, Limits())


@pytest.mark.parametrize(
    ("check", "name", "limits", "told"),
    [
        (check_face, "text.mp4", Limits(), "not a media file"),
        (check_face, "empty.mp4", Limits(), "empty"),
        (check_face, "half.mp4", Limits(), "convert it"),
        (check_face, "bomb.png", Limits(), "9000x9000 pixels are too many"),
        (check_face, "vast.png", Limits(), "pixels are too many"),
        (check_face, "clip.mp4", Limits(pixels=99), "160x160 pixels are too many"),
        (check_face, "clip.mp4", Limits(seconds=1), "longer than the 1 s"),
        (check_face, "clip.mp4", Limits(bytes=9), "at most 0 MB"),
        (check_face, "voice.wav", Limits(), "no video"),
        (check_sound, "text.mp4", Limits(), "not a media file"),
        (check_sound, "face.png", Limits(), "no sound"),
        (check_sound, "mute.mp4", Limits(), "no sound"),
        (check_sound, "voice.wav", Limits(seconds=1), "longer than the 1 s"),
    ],
)
def test_the_refusal_names_file_and_reason_alone(check, name, limits, told, folder):
    with pytest.raises(LipsyncError) as caught:
        check(folder / name, limits)
    text = polite(caught.value, folder)
    assert text.startswith(f"{name}: ") and told in text
    assert str(folder) not in text and "\n" not in text


def test_folders_and_causes_of_the_server_are_not_told(tmp_path):
    inside = tmp_path / "Ab-9_x" / "my clip.mp4"
    error = ClipError(Reason.UNREADABLE, f"{inside}: moov atom not found")
    assert polite(error, tmp_path).startswith("my clip.mp4: moov atom not found; ")
    assert "/secret" not in polite(OSError(28, "No space left on device", "/secret/x"), tmp_path)
