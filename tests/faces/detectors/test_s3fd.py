"""S3FD against face-alignment's own pre- and post-processing, with arbitrary weights."""

import numpy as np
import pytest
import torch
from face_alignment.detection.sfd.bbox import nms as public_nms
from face_alignment.detection.sfd.detect import batch_detect, get_predictions
from face_alignment.detection.sfd.net_s3fd import s3fd as Network

from lipsync_core.errors import LipsyncError
from lipsync_core.faces import detectors
from lipsync_core.faces.boxes import nms
from lipsync_core.faces.detectors.s3fd import S3FD, choose_precision, decode

THRESHOLD = 0.5


def reference(candidates: np.ndarray) -> np.ndarray:
    """What the public code makes of one picture's candidates (n, 5)."""
    kept = candidates[public_nms(candidates, 0.3)]
    return kept[kept[:, 4] > THRESHOLD]


@pytest.fixture(scope="module")
def state():
    """Seeded weights, with heads steep enough to find a few dozen 'faces' in noise."""
    torch.manual_seed(3)
    network = Network()
    tensors = network.state_dict()
    for name, tensor in tensors.items():
        # The three finest levels come normalized to 10; the others are of the order of 1000.
        scale = 2.0 if "norm_mbox" in name else 0.015
        if "norm.weight" in name:
            tensor.fill_(10.0)
        elif name.endswith("weight"):
            torch.nn.init.kaiming_normal_(tensor)
        if "mbox_conf.weight" in name:
            tensor.mul_(scale)
        if "mbox_conf.bias" in name:
            tensor.copy_(torch.linspace(1.5, 0, len(tensor)))
        if "mbox_loc" in name:
            tensor.mul_(scale / 3)
    return tensors


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (5, 12, 16, 3))
    return coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)


def test_decode_equals_the_public_loop():
    rng = np.random.default_rng(1)
    outputs = []
    for side in (16, 8, 4, 2, 1, 1):
        outputs.append(torch.from_numpy(rng.normal(0, 2, (3, 2, side, side)).astype(np.float32)))
        outputs.append(torch.from_numpy(rng.normal(0, 1, (3, 4, side, side)).astype(np.float32)))
    hits = decode(outputs, THRESHOLD)
    soft = [
        part.softmax(1).numpy() if index % 2 == 0 else part.numpy()
        for index, part in enumerate(outputs)
    ]
    expected = get_predictions(soft, 3)
    for picture in range(3):
        boxes = hits[hits[:, 0] == picture, 1:]
        ours, theirs = boxes[nms(boxes, 0.3, border=1)], reference(expected[picture])
        assert len(theirs) > 10
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_detect_equals_the_public_detector(state, frames):
    detector = S3FD(state, "cpu", THRESHOLD, precision="float32")
    found = detector.detect(frames)
    rgb = torch.from_numpy(frames[..., ::-1].copy()).permute(0, 3, 1, 2)
    expected = batch_detect(detector.network, rgb, "cpu")
    for ours, candidates in zip(found, expected, strict=True):
        theirs = reference(candidates)
        assert 3 < len(theirs) < 300
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=5e-3)


@pytest.mark.parametrize(
    ("batch_size", "precision"), [(2, "float32"), (5, "float32"), (None, "bf16")]
)
def test_batch_size_changes_nothing(state, frames, batch_size, precision):
    detector = S3FD(state, "cpu", THRESHOLD, precision, batch_size=1)
    single = [detector.detect(frame[None])[0] for frame in frames]
    batched = S3FD(state, "cpu", THRESHOLD, precision, batch_size=batch_size).detect(frames)
    for one, other in zip(single, batched, strict=True):
        assert len(one) > 3
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_no_frames_and_no_faces(state, frames):
    detector = S3FD(state, "cpu", threshold=0.99999)
    assert detector.detect(frames[:0]) == []
    faces = detector.detect_faces(frames[:1])[0]
    assert faces.boxes.shape == (0, 5) and faces.landmarks.shape == (0, 0)


def test_half_precision_stays_close(state, frames):
    exact = S3FD(state, "cpu", precision="float32").detect(frames[:1])[0]
    rough = S3FD(state, "cpu", precision="bf16").detect(frames[:1])[0]
    assert rough.dtype == np.float32
    np.testing.assert_allclose(rough[0], exact[0], atol=2)


def test_precision_follows_the_processor(state, monkeypatch):
    cpu = torch.device("cpu")
    for able, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {"amx_bf16": able})
        assert choose_precision("auto", cpu) is expected
    assert choose_precision("bf16", cpu) is torch.bfloat16
    assert choose_precision("auto", torch.device("cuda")) is torch.float32
    with pytest.raises(LipsyncError, match=r"detect\.precision"):
        S3FD(state, "cpu", precision="int8")


def test_wrong_frames_are_refused(state):
    with pytest.raises(ValueError, match="uint8"):
        S3FD(state, "cpu").detect(np.zeros((1, 8, 8, 3), np.float32))


def test_built_from_a_folder(state, frames, tmp_path):
    torch.save(state, tmp_path / "s3fd.pth")
    detector = detectors.build("auto", "cpu", tmp_path)
    assert detector.name == "s3fd"
    expected = S3FD(state, "cpu").detect(frames[:1])[0]
    np.testing.assert_array_equal(detector.detect(frames[:1])[0], expected)
    assert S3FD.from_folder(tmp_path / "s3fd.pth", "cpu").name == "s3fd"


def test_missing_weights_name_the_remedy(tmp_path):
    with pytest.raises(LipsyncError, match=r"s3fd\.pth: no such file.*detector: centerface"):
        detectors.build("s3fd", "cpu", tmp_path)


@pytest.mark.parametrize("content", [{"conv1.weight": torch.zeros(3)}, [1, 2], "torn", "code"])
def test_wrong_weights_are_refused(tmp_path, content):
    path = tmp_path / "s3fd.pth"
    if content == "torn":
        path.write_bytes(b"PK\x03\x04 torn")
    elif content == "code":
        torch.save({"run": test_missing_weights_name_the_remedy}, path)
    else:
        torch.save(content, path)
    with pytest.raises(LipsyncError, match=r"s3fd\.pth"):
        detectors.build("s3fd", "cpu", tmp_path)
