"""The generator at inference: both engines against the network, precision, memory, errors."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from lipsync_core.checkpoints import build_from, save_public
from lipsync_core.dubbing.generators import Generator, is_onnx, load_generator
from lipsync_core.dubbing.onnx_export import export_onnx
from lipsync_core.dubbing.torch_engine import MARGIN
from lipsync_core.errors import LipsyncError
from lipsync_core.models import SyncNet, Wav2Lip
from lipsync_core.runtime.device import cpu_has_bf16
from tests.support.golden_recipe import draw_weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A narrow generator whose batch norms are not the identity."""
    path = tmp_path_factory.mktemp("models") / "wav2lip.pth"
    with torch.no_grad():
        save_public(path, draw_weights(Wav2Lip(width=0.125)))
    return path


def inputs(count, size=96):
    random = np.random.default_rng(count)
    mels = random.normal(0, 2, (count, 80, 16)).astype(np.float32)
    return mels, random.random((count, 6, size, size), np.float32)


def expected(path, mels, faces):
    with torch.no_grad():
        network = build_from(path, Wav2Lip)
        generated = network(torch.from_numpy(mels[:, None]), torch.from_numpy(faces))
    return generated.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("count", [1, 3, 17])
def test_float32_is_the_network(checkpoint, count):
    generator = load_generator(checkpoint, "cpu", "float32")
    assert (generator.name, generator.image_size) == ("torch cpu float32", 96)
    mels, faces = inputs(count)
    found = generator.generate(mels, faces)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(checkpoint, mels, faces), atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_rows_that_are_not_seen_are_those_of_the_input(checkpoint, precision):
    mels, faces = inputs(3)
    whole = load_generator(checkpoint, "cpu", precision).generate(mels, faces)
    lower = load_generator(checkpoint, "cpu", precision, seen_from=0.5).generate(mels, faces)
    first = 48 - MARGIN
    np.testing.assert_array_equal(lower[:, :first], faces[:, :3, :first].transpose(0, 2, 3, 1))
    np.testing.assert_allclose(lower[:, first:], whole[:, first:], atol=1e-5)


def test_bf16_is_close(checkpoint):
    generator = load_generator(checkpoint, "cpu", "bf16")
    assert generator.name == "torch cpu bf16"
    mels, faces = inputs(4)
    error = 255 * np.abs(generator.generate(mels, faces) - expected(checkpoint, mels, faces))
    assert error.max() < 2 and 0 < error.mean() < 0.3


def test_bf16_rounds_no_input_and_no_output(checkpoint):
    def rounded(array):
        return torch.from_numpy(array).bfloat16().float().numpy()

    generator = load_generator(checkpoint, "cpu", "bf16")
    mels, faces = inputs(4)
    found = generator.generate(mels, faces)
    assert (generator.generate(rounded(mels), faces) != found).any()
    assert (generator.generate(mels, rounded(faces)) != found).any()
    assert (rounded(found) != found).mean() > 0.9


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_still_is_encoded_once(checkpoint, precision, monkeypatch):
    encoded = []
    encode = Wav2Lip.encode_faces

    def spy(self, faces):
        encoded.append(len(faces))
        return encode(self, faces)

    generator = load_generator(checkpoint, "cpu", precision, max_batch=4)
    mels, faces = inputs(10)
    still = np.repeat(faces[:1], 10, axis=0)
    reference = np.concatenate(  # beside another face, which makes it no still
        [generator.generate(mels[[n, n]], faces[[0, 1]])[:1] for n in range(10)]
    )
    monkeypatch.setattr(Wav2Lip, "encode_faces", spy)
    first = generator.generate(mels, still)
    again = generator.generate(mels[:3], still[:3])
    assert encoded == [1]
    atol = {"float32": 1e-5, "bf16": 2 / 255}[precision]
    np.testing.assert_allclose(first, reference, atol=atol)
    np.testing.assert_allclose(again, first[:3], atol=atol)
    other = generator.generate(mels[:2], faces[[1, 1]])
    assert encoded == [1, 1] and np.abs(other - first[:2]).max() > 0.02


def test_workers_share_a_batch(checkpoint, monkeypatch):
    used = []
    encode = Wav2Lip.encode_faces

    def spy(self, faces):
        used.append((len(faces), torch.get_num_threads()))
        return encode(self, faces)

    monkeypatch.setattr(Wav2Lip, "encode_faces", spy)
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        generator = load_generator(checkpoint, "cpu", "float32")
        seen = []
        elsewhere = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        elsewhere.start()
        elsewhere.join()
        assert seen == [3] and torch.get_num_threads() == 3  # neither is changed for others
        assert generator.batch_size == 36
        mels, faces = inputs(10)
        found = generator.generate(mels, faces)
        assert sorted(used) == [(2, 1), (4, 1), (4, 1)]
        np.testing.assert_allclose(found, expected(checkpoint, mels, faces), atol=1e-5)
        still = generator.generate(mels, np.repeat(faces[3:4], 10, axis=0))
        np.testing.assert_allclose(still[3], found[3], atol=1e-5)
        names = [thread.name for thread in threading.enumerate()]
        assert sum(name.startswith("generator") for name in names) == 3
    finally:
        torch.set_num_threads(usual)


def test_auto_is_what_the_processor_gains_from(checkpoint):
    able = cpu_has_bf16(torch.device("cpu"))
    assert load_generator(checkpoint, "cpu").name == f"torch cpu {'bf16' if able else 'float32'}"


@pytest.mark.parametrize("size", [96, 192, 288, 384])
def test_onnx_is_the_network(tmp_path, size):
    path = tmp_path / "wav2lip.pth"
    with torch.no_grad():
        save_public(path, draw_weights(Wav2Lip(width=0.125, image_size=size)))
    export_onnx(path, tmp_path / "wav2lip.onnx")
    generator = load_generator(tmp_path / "wav2lip.onnx")
    assert (generator.name, generator.image_size) == ("onnxruntime cpu float32", size)
    for count in (1, 3, 16) if size == 96 else (1, 3):
        mels, faces = inputs(count, size)
        found = generator.generate(mels, faces)
        np.testing.assert_allclose(found, expected(path, mels, faces), atol=1e-4, rtol=0)


class Small:
    """An engine with room for `room` faces."""

    name, image_size, batch_size = "small", 96, 16

    def __init__(self, room, error):
        self.room, self.error, self.batches = room, error, []

    def run(self, mels, faces):
        self.batches.append(len(faces))
        if len(faces) > self.room:
            raise self.error
        return faces[:, 3:].transpose(0, 2, 3, 1)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA"), MemoryError()])
def test_memory_that_runs_out_halves_the_batch(error):
    engine = Small(5, error)
    generator = Generator(engine)
    mels, faces = inputs(18)
    for _ in range(2):
        np.testing.assert_array_equal(
            generator.generate(mels, faces), faces[:, 3:].transpose(0, 2, 3, 1)
        )
    assert engine.batches == [16, 8, 4, 4, 4, 4, 2, 4, 4, 4, 4, 2]
    assert generator.batch_size == 4


def test_no_room_for_one_face():
    with pytest.raises(LipsyncError, match=r"small: no memory for one face .* --device cpu"):
        Generator(Small(0, MemoryError())).generate(*inputs(2))


def test_memory_of_onnx_runtime(checkpoint, tmp_path, monkeypatch):
    import onnxruntime

    kind = onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException
    export_onnx(checkpoint, tmp_path / "b.onnx")
    generator = load_generator(tmp_path / "b.onnx")
    run = onnxruntime.InferenceSession.run

    def small(self, names, inputs):
        if len(inputs["faces"]) > 2:
            raise kind("Failed to allocate memory for requested buffer of size 1")
        return run(self, names, inputs)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", small)
    mels, faces = inputs(5)
    found = generator.generate(mels, faces)
    np.testing.assert_allclose(found, expected(checkpoint, mels, faces), atol=1e-4)
    assert generator.batch_size == 2


def test_other_errors_are_not_of_memory():
    with pytest.raises(RuntimeError, match="broken"):
        Generator(Small(0, RuntimeError("broken"))).generate(*inputs(2))


def test_the_users_batch_is_the_largest(checkpoint):
    assert load_generator(checkpoint, "cpu", max_batch=3).batch_size == 3
    assert load_generator(checkpoint, "cpu").batch_size == 16


def test_the_content_tells_the_engine(checkpoint, tmp_path):
    renamed = tmp_path / "wav2lip.onnx"
    renamed.write_bytes(checkpoint.read_bytes())
    assert not is_onnx(renamed) and load_generator(renamed, "cpu").name.startswith("torch")
    export_onnx(checkpoint, tmp_path / "b.onnx")
    assert is_onnx((tmp_path / "b.onnx").rename(tmp_path / "wav2lip.pth"))


def test_unusable_files(checkpoint, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"<html>not found</html>")
    with pytest.raises(LipsyncError, match=r"broken\.onnx: damaged or no ONNX model"):
        load_generator(broken)
    with pytest.raises(LipsyncError, match=r"none\.onnx: no such ONNX file"):
        load_generator(tmp_path / "none.onnx")
    save_public(tmp_path / "syncnet.pth", SyncNet(width=0.125))
    with pytest.raises(LipsyncError, match="give a checkpoint of Wav2Lip"):
        load_generator(tmp_path / "syncnet.pth", "cpu")
    with pytest.raises(LipsyncError, match="precision 'half': wanted"):
        load_generator(checkpoint, precision="half")
    export_onnx(checkpoint, tmp_path / "b.onnx")
    with pytest.raises(LipsyncError, match="runs on the CPU"):
        load_generator(tmp_path / "b.onnx", "cuda")


def test_another_network_is_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["n", 3, 64, 64])
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3, 64, 64])
    node = helper.make_node("Relu", ["faces"], ["out"])
    graph = helper.make_graph([node], "other", [value], [result])
    model = helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_operatorsetid("", 17)]
    )
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(LipsyncError, match=r"other\.onnx: is no generator"):
        load_generator(tmp_path / "other.onnx")
