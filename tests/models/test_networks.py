import numpy as np
import pytest
import torch

from lipsync_core.errors import LipsyncError
from lipsync_core.models import LseSyncNet, QualityDiscriminator, SyncNet, Wav2Lip
from lipsync_core.models.blocks import fold_time, lower_half, scaled, steps_to_grid, unfold_time
from tests.support.golden_recipe import draw_weights, network_inputs, numbers, spec

PUBLIC = {
    "syncnet": SyncNet,
    "wav2lip": Wav2Lip,
    "discriminator": QualityDiscriminator,
    "lse_syncnet": LseSyncNet,
}
SIZED = [SyncNet, Wav2Lip, QualityDiscriminator]
SIZES = [96, 192, 288, 384]
TINY = 1 / 16


def close(actual: torch.Tensor, expected: np.ndarray, atol: float = 1e-4) -> None:
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def golden():
    return numbers("networks")


@pytest.fixture(scope="module")
def inputs():
    return network_inputs()


@pytest.mark.parametrize("name", PUBLIC)
def test_state_dict_is_public_key_for_key(name):
    with torch.device("meta"):
        state = PUBLIC[name]().state_dict()
    rows = [[key, list(t.shape), str(t.dtype).removeprefix("torch.")] for key, t in state.items()]
    assert rows == spec()[name]


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_the_lower_rows_alone_are_those_of_the_whole_image(size):
    model = draw_weights(Wav2Lip(width=TINY, image_size=size))
    features = model.encode_faces(torch.rand(2, 6, size, size))
    mel = torch.randn(2, 1, 80, 16)
    whole = model.decode(mel, features)
    assert whole.std() > 0.01
    rows = []
    model.output_block.register_forward_pre_hook(lambda _, given: rows.append(given[0].shape[2]))
    for first in (0, 1, 4, size // 3, size // 2, size - 2):
        torch.testing.assert_close(model.decode(mel, features, first), whole[:, :, first:])
    assert rows == [
        min(size, size - first + 1) for first in (0, 1, 4, size // 3, size // 2, size - 2)
    ]


@torch.inference_mode()
def test_syncnet_gives_the_public_embeddings(golden, inputs):
    model = draw_weights(SyncNet())
    audio, face = model(inputs["mel"], inputs["face15"])
    close(audio, golden["syncnet_audio"])
    close(face, golden["syncnet_face"])
    assert torch.equal(audio, model.encode_audio(inputs["mel"]))
    assert torch.equal(face, model.encode_faces(inputs["face15"]))


@torch.inference_mode()
def test_wav2lip_gives_the_public_faces(golden, inputs):
    model = draw_weights(Wav2Lip())
    image = model(inputs["mel"], inputs["face6"])
    assert image.shape == (2, 3, 96, 96)
    close(image[..., ::4, ::4], golden["wav2lip_image"])
    window = model(inputs["mel5"], inputs["face6x5"])
    assert window.shape == (2, 3, 5, 96, 96)
    # Stored as float16, whose step below 1 is 2 ** -11: half a step more than the bar.
    close(window[..., ::8, ::8], golden["wav2lip_window"], atol=1e-4 + 2**-12)
    # Each frame of a window is generated on its own, with its own sound.
    alone = model(inputs["mel5"][:, 3], inputs["face6x5"][:, :, 3])
    torch.testing.assert_close(window[:, :, 3], alone, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_discriminator_gives_the_public_probabilities(golden, inputs):
    model = draw_weights(QualityDiscriminator())
    faces = inputs["face3x5"].clone()
    close(model(faces), golden["disc"])
    torch.testing.assert_close(model(faces[:, :, 4]), model(faces)[-2:], atol=1e-6, rtol=0)
    faces[..., :48, :] = 0
    close(model(faces), golden["disc"])  # the upper half is not looked at


@pytest.mark.parametrize("image_size", SIZES)
@torch.inference_mode()
def test_every_image_size_runs_at_small_width(image_size):
    mel, faces = torch.randn(1, 1, 80, 16), torch.rand(1, 6, image_size, image_size)
    generated = Wav2Lip(TINY, image_size).eval()(mel, faces)
    assert generated.shape == (1, 3, image_size, image_size)
    assert generated.min() >= 0 and generated.max() <= 1
    syncnet = SyncNet(TINY, image_size).eval()
    for embedding in syncnet(mel, torch.rand(1, 15, image_size // 2, image_size)):
        assert embedding.shape == (1, scaled(512, TINY))
        assert embedding.min() >= 0
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(1))
    probability = QualityDiscriminator(TINY, image_size).eval()(generated[:, :, None])
    assert probability.shape == (1, 1) and 0 < probability < 1


@pytest.mark.parametrize("image_size", SIZES[1:])
@pytest.mark.parametrize("cls", SIZED)
def test_larger_images_keep_every_public_tensor(cls, image_size):
    with torch.device("meta"):
        public, larger = cls().state_dict(), cls(image_size=image_size).state_dict()
    assert {n: t.shape for n, t in larger.items() if n in public} == {
        n: t.shape for n, t in public.items()
    }
    extra = {name.split(".")[0] for name in larger if name not in public}
    assert extra <= {"face_downscale_blocks", "face_upscale_blocks"} and extra


@pytest.mark.parametrize("cls", SIZED)
def test_width_scales_hidden_channels_only(cls):
    with torch.device("meta"):
        public, half = cls().state_dict(), cls(width=0.5).state_dict()
    assert list(public) == list(half)
    hidden = [name for name in public if name.endswith("conv_block.0.bias")]
    for name in hidden:
        least = 16 if cls is Wav2Lip and not name.startswith("audio_encoder") else 8
        assert len(half[name]) == max(least, len(public[name]) // 2)
    ends = {
        "face_encoder.0.conv_block.0.weight",
        "audio_encoder.0.conv_block.0.weight",
        "face_encoder_blocks.0.0.conv_block.0.weight",
    }
    assert all(half[name].shape[1] == public[name].shape[1] for name in ends & set(public))
    last = {"output_block.1.bias", "binary_pred.0.bias"}
    assert all(half[name].shape == public[name].shape for name in last & set(public))


@pytest.mark.parametrize(
    "channels, width, expected",
    [(512, 1.0, 512), (512, 0.25, 128), (16, 0.25, 8), (384, 0.3, 112), (32, 0.375, 16)],
)
def test_scaled_channels_are_multiples_of_8(channels, width, expected):
    assert scaled(channels, width) == expected


def test_time_folds_frame_major():
    frames = torch.arange(2 * 3 * 5).reshape(2, 3, 5, 1, 1)
    folded = fold_time(frames)
    assert torch.equal(folded[0], frames[0, :, 0]) and torch.equal(folded[1], frames[1, :, 0])
    assert torch.equal(unfold_time(folded, batch=2), frames)


def test_lower_half_is_the_half_with_the_mouth():
    rows = torch.arange(6.0)[:, None].expand(1, 6, 6)
    assert lower_half(rows)[0, :, 0].tolist() == [3, 4, 5]


def test_gradients_reach_every_parameter():
    """The in-place activations must not break the backward pass."""
    torch.manual_seed(0)
    generator, syncnet, discriminator = (
        cls(TINY, 192) for cls in (Wav2Lip, SyncNet, QualityDiscriminator)
    )
    mel = torch.randn(2, 5, 1, 80, 16)
    generated = generator(mel, torch.rand(2, 6, 5, 192, 192))
    mouths = lower_half(generated).transpose(1, 2).flatten(1, 2)
    audio, face = syncnet(mel[:, 2], mouths)
    ((audio * face).sum() + discriminator(generated).sum() + generated.mean()).backward()
    for model in (generator, syncnet, discriminator):
        silent = {name for name, p in model.named_parameters() if p.grad is None}
        normed = {name[: -len("1.running_mean")] for name in model.state_dict() if "mean" in name}
        assert silent == {f"{name}0.bias" for name in normed}  # batch norm takes them out again


@pytest.mark.parametrize("cls", SIZED)
def test_impossible_sizes_are_refused(cls):
    with pytest.raises(LipsyncError, match=r"image_size 128.*96, 192, 288, 384"):
        cls(image_size=128)
    with pytest.raises(LipsyncError, match="width 0"):
        cls(width=0)


def test_steps_to_grid_reduce_every_size_to_96():
    for image_size in SIZES:
        size = image_size
        for kernel, stride, padding in steps_to_grid(image_size):
            size = (size + 2 * padding - kernel) // stride + 1
        assert size == 96


def test_wrong_shapes_are_named():
    with pytest.raises(
        ValueError, match=r"faces: expected \(\.\.\., 15, 48, 96\), got \(1, 15, 96"
    ):
        SyncNet(TINY).encode_faces(torch.zeros(1, 15, 96, 96))
    with pytest.raises(ValueError, match="mel: expected"):
        Wav2Lip(TINY)(torch.zeros(1, 1, 80, 15), torch.zeros(1, 6, 96, 96))
