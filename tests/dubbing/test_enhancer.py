"""A user's restoration model: sizes, ranges and colors are honored, wrong models refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lipsync_core.dubbing.compositor import Compositor
from lipsync_core.dubbing.enhancer import Enhancer
from lipsync_core.errors import LipsyncError

FACE = np.random.default_rng(0).random((96, 96, 3), np.float32)


def model(path: Path, nodes, shape, inputs=("face",), metadata=None, kind=TensorProto.FLOAT):
    """Write a model of `nodes` from `inputs` of `shape` to "out"."""
    given = [helper.make_tensor_value_info(name, kind, shape) for name in inputs]
    out = helper.make_tensor_value_info("out", kind, None)
    constants = [
        helper.make_tensor("gain", TensorProto.FLOAT, [1, 3, 1, 1], [1, 1, 0]),
        helper.make_tensor("low", TensorProto.FLOAT, [], [-1.0]),
        helper.make_tensor("nan", TensorProto.FLOAT, [], [np.nan]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 2, 2]),
    ]
    graph = helper.make_graph(nodes, "enhancer", given, [out], constants)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for key, value in (metadata or {}).items():
        entry = built.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(built, str(path))
    return path


def node(kind: str, *inputs: str):
    return helper.make_node(kind, [*inputs], ["out"])


IDENTITY = node("Identity", "face")


@pytest.mark.parametrize("value_range", ["-1,1", "0,1"])
def test_identity(tmp_path, value_range):
    path = model(tmp_path / "m.onnx", [IDENTITY], ["n", 3, "h", "w"])
    result = Enhancer(path, value_range)(FACE)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, FACE, atol=1e-6)


def test_range_comes_from_the_metadata_and_channels_are_rgb(tmp_path):
    # The model sets its third channel to the middle of -1 to 1, or the lower end of 0 to 1.
    nodes = [node("Mul", "face", "gain")]
    shape = [1, 3, 96, 96]
    default = Enhancer(model(tmp_path / "a.onnx", nodes, shape))(FACE)
    np.testing.assert_allclose(default[..., 0], 0.5)  # blue
    np.testing.assert_allclose(default[..., 1:], FACE[..., 1:], atol=1e-6)
    tags = {"value_range": "0,1", "channels": "bgr"}
    tagged = Enhancer(model(tmp_path / "b.onnx", nodes, shape, metadata=tags))(FACE)
    np.testing.assert_allclose(tagged[..., 2], 0)  # red
    np.testing.assert_allclose(tagged[..., :2], FACE[..., :2], atol=1e-6)


def test_sizes_are_the_model_s(tmp_path):
    nodes = [node("Resize", "face", "", "scales")]
    fixed = Enhancer(model(tmp_path / "a.onnx", nodes, [1, 3, 64, 48]))
    assert fixed(FACE).shape == (128, 96, 3)
    free = Enhancer(model(tmp_path / "b.onnx", nodes, ["n", 3, "h", "w"]))
    assert free(FACE).shape == (192, 192, 3)


def test_half_precision(tmp_path):
    path = model(tmp_path / "m.onnx", [IDENTITY], [1, 3, 96, 96], kind=TensorProto.FLOAT16)
    np.testing.assert_allclose(Enhancer(path)(FACE), FACE, atol=2e-3)


def test_the_face_is_enhanced_inside_the_mask_only(tmp_path):
    path = model(tmp_path / "m.onnx", [node("Mul", "face", "low")], [1, 3, 96, 96])  # a negative
    source = np.full((360, 320), 100, np.uint8)
    frames = [source.copy(), source.copy()]
    for frame, enhancer in zip(frames, (None, Enhancer(path)), strict=True):
        Compositor(blend="soft", enhancer=enhancer).paste(frame, (60, 30, 240, 220), None, FACE)
    changed = np.abs(frames[0].astype(int) - frames[1])[:240]
    assert changed[130:200, 100:200].mean() > 5
    assert not changed[:120].any() and not changed[220:].any()


@pytest.mark.parametrize(
    ("nodes", "shape", "inputs", "message"),
    [
        ([IDENTITY], [1, 1, 96, 96], ("face",), "takes tensor.* of 1x1x96x96; .*Nx3xHxW"),
        ([IDENTITY], [1, 3, 96], ("face",), "of 1x3x96;"),
        ([IDENTITY], [8, 3, 96, 96], ("face",), "of 8x3x96x96;"),
        ([node("Add", "face", "w")], [1, 3, 9, 9], ("face", "w"), r"2 inputs \(face, w\)"),
        ([node("ReduceSum", "face", "axes")], [1, 3, 9, 9], ("face",), "gives an array of 1x1x9x9"),
        ([node("Mul", "face", "nan")], [1, 3, 9, 9], ("face",), "not finite"),
    ],
)
def test_models_of_another_shape_are_refused(tmp_path, nodes, shape, inputs, message):
    path = model(tmp_path / "m.onnx", nodes, shape, inputs)
    with pytest.raises(LipsyncError, match=message) as failure:
        Enhancer(path)(FACE)
    assert str(path) in str(failure.value)


def test_files_that_are_no_models(tmp_path):
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    with pytest.raises(LipsyncError, match="is no ONNX model"):
        Enhancer(text)
    with pytest.raises(LipsyncError, match="no such enhancer"):
        Enhancer(tmp_path / "missing.onnx")
    path = model(tmp_path / "m.onnx", [IDENTITY], [1, 3, 9, 9])
    with pytest.raises(LipsyncError, match="'0,255'; use -1,1 or 0,1"):
        Enhancer(path, "0,255")
