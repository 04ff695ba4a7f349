"""Voice embeddings by a speaker encoder, and aliases found by them."""

import librosa
import numpy as np
import pytest
import torch
from scipy.io import wavfile

from lipsync_core.errors import LipsyncError
from lipsync_core.models.speaker_encoder import SpeakerEncoder
from lipsync_core.preparation import aliases, voice_embedding
from lipsync_core.preparation.prints import Print, clip_print
from lipsync_core.preparation.voice_embedding import VoiceEncoder
from tests.support.training import write_clip

WAV = np.random.default_rng(0).normal(0, 0.1, 3 * 16000).astype(np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights in the format of the public file, which has more tensors than the network."""
    torch.manual_seed(0)
    state = SpeakerEncoder().state_dict() | {"similarity_weight": torch.ones(1)}
    path = tmp_path_factory.mktemp("weights") / "speaker_encoder.pt"
    torch.save({"step": 1, "model_state": state}, path)
    return path


def test_features_are_those_of_the_public_weights():
    mels = voice_embedding.partial_utterances(WAV)
    expected = librosa.feature.melspectrogram(
        y=WAV, sr=16000, n_fft=400, hop_length=160, n_mels=40
    ).T
    assert mels.shape == (3, 160, 40) and mels.dtype == np.float32
    assert np.allclose(mels[0], expected[:160], atol=1e-6)
    assert np.allclose(mels[1], expected[77:237], atol=1e-6)
    assert voice_embedding.partial_utterances(WAV[:3000]).shape == (1, 160, 40)


def test_pauses_are_cut_and_quiet_audio_is_raised():
    quiet = 0.01 * WAV
    spoken = voice_embedding.loud_parts(np.concatenate([quiet, np.zeros(32000, np.float32)]))
    assert len(spoken) == pytest.approx(len(WAV), abs=2000)
    assert np.sqrt(np.mean(spoken**2)) == pytest.approx(voice_embedding.LEVEL, rel=0.01)
    assert np.array_equal(voice_embedding.loud_parts(WAV)[:480], WAV[:480])


def test_an_embedding_has_unit_length_and_is_reproducible(weights):
    encoder = VoiceEncoder(weights)
    found = encoder(WAV)
    assert found.shape == (256,) and np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(found, VoiceEncoder(weights)(WAV))
    assert np.isfinite(encoder(np.zeros(100, np.float32))).all()


@pytest.mark.parametrize("content", [{"model_state": {}}, {"other": 1}, [1]])
def test_a_file_of_another_network_is_refused(tmp_path, content):
    path = tmp_path / "speaker_encoder.pt"
    torch.save(content, path)
    with pytest.raises(LipsyncError, match="not the weights of a speaker encoder"):
        VoiceEncoder(path)


def embedded(person: int, take: int, face: int) -> Print:
    """A print whose Gaussian voice says nothing, with an embedding near those of its person."""
    common = np.abs(np.random.default_rng(9).normal(0, 1, 256))
    own, rng = np.random.default_rng((1, person)), np.random.default_rng((2, person, take))
    voice = common + 0.8 * own.normal(0, 1, 256) + 0.2 * rng.normal(0, 1, 256)
    look = np.abs(np.random.default_rng((3, face)).normal(0, 1, 512))
    faces = (look / np.linalg.norm(look))[None].astype(np.float16)
    return Print(np.zeros(19), np.eye(19), 9, faces, voice / np.linalg.norm(voice))


def test_embeddings_decide_and_faces_exclude():
    corpus = {f"s{person:02}": [embedded(person, 0, person)] for person in range(20)}
    assert aliases.find_aliases(corpus) == []
    twin = corpus | {"zoe": [embedded(7, 1, 7)]}
    assert [(each.one, each.other) for each in aliases.find_aliases(twin)] == [("s07", "zoe")]
    other_face = corpus | {"zoe": [embedded(7, 1, 99)]}
    assert aliases.find_aliases(other_face) == []


def test_a_print_is_made_again_for_an_encoder(tmp_path, weights):
    write_clip(tmp_path, "ann/1")
    (tmp_path / "audio/ann").mkdir(parents=True, exist_ok=True)
    wavfile.write(tmp_path / "audio/ann/1.wav", 16000, (WAV * 3e4).astype(np.int16))
    assert clip_print(tmp_path, "ann/1", "key").voice is None
    encoder = VoiceEncoder(weights)
    first = clip_print(tmp_path, "ann/1", "key", encoder)
    again = clip_print(tmp_path, "ann/1", "key", encoder)
    assert first.voice.shape == (256,) and np.array_equal(first.voice, again.voice)
    assert clip_print(tmp_path, "ann/1", "key").voice is None
