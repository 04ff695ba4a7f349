"""Objects in front of a mouth are kept, and a talking face is not taken for one."""

import cv2
import numpy as np
import pytest

from lipsync_core.demo import plan, portraits, render
from lipsync_core.demo.visemes import CHANNELS
from lipsync_core.dubbing.compositor import Compositor
from lipsync_core.dubbing.face_memory import FaceMemory
from lipsync_core.dubbing.mask import lower_face_mask
from lipsync_core.dubbing.occlusion import OcclusionModel
from lipsync_core.dubbing.planes import Region

FRAMES = 75
ENTERS, LEAVES = 30, 55  # frames
BOX = (70, 70, 218, 246)
# Eyes, tip of the nose, corners of the mouth of a standard still, as seen.
LANDMARKS = np.array([[115, 134], [173, 134], [144, 168], [120, 194], [168, 194]], np.float64)
TURN = np.array([[0.8, 0, 40], [0, 1, 0]])  # narrows
GENERATED = np.random.default_rng(0).random((96, 96, 3), np.float32)


@pytest.fixture(scope="module")
def talking() -> list[np.ndarray]:
    """Frames of a demo speaker whose mouth opens wide and spreads: uint8 (320, 288, 3) BGR."""
    shapes = np.zeros((FRAMES, len(CHANNELS)), np.float32)
    seconds = np.arange(FRAMES) / 25
    # Wider from second to second; pressed lips and an open smile.
    shapes[:, 0] = np.clip(0.3 * seconds, 0.2, 0.7) * (
        0.5 - 0.5 * np.cos(2 * np.pi * 2.3 * seconds)
    )
    shapes[:, 1] = np.sin(2 * np.pi * 1.1 * seconds)
    return list(render.frames(portraits.still(plan.speaker(0).portrait), shapes, seed=0))


def kept(
    frames: list[np.ndarray], landmarks: np.ndarray | list[np.ndarray] | None = LANDMARKS
) -> list[float]:
    """Share of the mask that each frame keeps; the landmarks of all frames, or of each."""
    model, shares = OcclusionModel(), []
    each = landmarks if isinstance(landmarks, list) else [landmarks] * len(frames)
    mask = cv2.resize(lower_face_mask(BOX, each[0]), (64, 64))
    for frame, landmarks in zip(frames, each, strict=True):
        seen = Region.of(cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420), BOX).reduced(64)
        visible = model.update(seen, BOX, landmarks)
        shares.append(0.0 if visible is None else float((1 - visible).mean() / mask.mean()))
    return shares


def with_object(
    frames: list[np.ndarray], kind: str, entry_step: int = 10
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frames in which a hand or a microphone covers the mouth for a second, and where it is."""
    cheek = frames[0][180, 100].astype(np.float32)
    color = cheek if kind == "hand" else np.array([40, 38, 36], np.float32)
    shown, places = [], []
    for number, frame in enumerate(frames):
        alpha = np.zeros(frame.shape[:2], np.uint8)
        if ENTERS <= number < LEAVES:
            x = 144 + round(12 * np.sin(number / 4))
            y = 200 + max(0, 40 - entry_step * (number - ENTERS))
            if kind == "hand":
                for finger in range(4):
                    at = (x - 36 + 24 * finger, y - 15)
                    cv2.line(alpha, at, (at[0], 319), 255, 20, cv2.LINE_AA)
            else:
                cv2.ellipse(alpha, (x, y), (34, 40), 0, 0, 360, 255, -1, cv2.LINE_AA)
                cv2.line(alpha, (x, y), (x, 319), 255, 30, cv2.LINE_AA)
        depth = cv2.distanceTransform((alpha > 128).astype(np.uint8), cv2.DIST_L2, 5)
        shade = 0.65 + 0.35 * np.clip(depth / 10, 0, 1)[:, :, None]
        opacity = alpha[:, :, None] / 255.0
        shown.append(np.rint(frame + opacity * (color * shade - frame)).astype(np.uint8))
        places.append(alpha > 128)
    return shown, places


def test_a_talking_face_is_not_taken_for_an_object(talking):
    assert np.mean(kept(talking)) < 0.01


@pytest.mark.parametrize("kind", ["hand", "microphone"])
def test_pixels_of_an_object_over_the_mouth_stay(talking, kind):
    frames, places = with_object(talking, kind)
    compositor = Compositor()
    mask = np.zeros(frames[0].shape[:2], np.float32)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = lower_face_mask(BOX, LANDMARKS)
    same = total = 0
    changed = []
    for number, (frame, place) in enumerate(zip(frames, places, strict=True)):
        source = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420)
        result = source.copy()
        compositor.paste(result, BOX, LANDMARKS, GENERATED)
        difference = (source != result)[: len(mask)]
        if ENTERS + 5 <= number < LEAVES:
            inside = place & (mask > 0.02)
            same += (~difference[inside]).sum()
            total += inside.sum()
        changed.append(difference[mask > 0.5].mean())
    assert same / total > 0.95
    assert min(changed[:ENTERS]) > 0.9 and np.median(changed[LEAVES + 3 :]) > 0.9


def test_a_hand_in_dim_light_is_found(talking):
    frames, _ = with_object(talking, "hand")
    dim = [np.rint(0.25 * frame + 25).astype(np.uint8) for frame in frames]
    assert np.mean(kept(dim)[ENTERS + 8 : LEAVES]) > 1


def test_an_object_appears_beside_the_mouth_first(talking):
    frames = list(talking[:30])
    opened = talking[0].copy()
    cv2.ellipse(opened, (144, 205), (34, 36), 0, 0, 360, (30, 20, 60), -1)  # and the chin drops
    assert max(kept(frames + [opened] * 2 + talking[:9])) == 0


def test_what_covers_the_lips_from_the_first_frame_on_stays_for_a_while(talking):
    frames = [frame.copy() for frame in (*talking, *talking)]
    for frame in frames:
        cv2.circle(frame, (150, 200), 34, (30, 30, 30), -1)
    shares = np.array(kept(frames))
    assert shares[4:90].min() > 1
    assert shares[110:].max() < 0.05  # then it is part of the face


def test_a_gray_face_has_no_lips_to_miss(talking):
    gray = [
        np.repeat(frame.mean(axis=2, keepdims=True).astype(np.uint8), 3, 2) for frame in talking
    ]
    assert max(kept(gray)) == 0


def test_without_landmarks_nothing_is_kept(talking):
    frames, _ = with_object(talking, "microphone")
    assert max(kept(frames)) > 0.3
    assert max(kept(frames, None)) == 0


def test_a_face_that_turns_to_a_profile_is_not_taken_for_an_object(talking):
    turned = [cv2.warpAffine(frame, TURN, frame.shape[1::-1]) for frame in talking[40:]]
    profile = LANDMARKS + np.array([[22, 0], [-12, 0], [34, 0], [22, 0], [-8, 0]])
    assert max(kept(talking[:40] + turned, [LANDMARKS] * 40 + [profile] * len(turned))) == 0


def test_a_face_that_was_covered_from_the_first_frame_is_dubbed_when_it_is_free(talking):
    cheek = talking[0][180, 100].astype(np.float32)
    frames = [frame.copy() for frame in talking]
    for frame in frames[:40]:
        cv2.ellipse(frame, (144, 212), (70, 48), 0, 0, 360, (0.8 * cheek).tolist(), -1)
    assert np.mean(kept(frames)[50:]) < 0.05


def test_nothing_is_drawn_when_the_mouth_is_hidden(talking):
    frames, places = with_object(talking, "microphone")
    over = [number for number in range(ENTERS + 6, LEAVES) if places[number][200, 120:168].all()]
    model, shown = OcclusionModel(), []
    for frame in frames:
        seen = Region.of(cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420), BOX).reduced(64)
        shown.append(model.update(seen, BOX, LANDMARKS))
    assert over and max(shown[number].max() for number in over) == 0


def test_the_memory_compares_with_the_nearest_frame_and_forgets_an_older():
    memory = FaceMemory()
    assert memory.empty
    faces = [np.full((48, 48, 3), 10 * number, np.uint8) for number in range(22)]
    for face in faces:
        memory.add(face)
    for kept_face in (faces[0], faces[9], faces[12], faces[21]):
        assert memory.novelty(kept_face).max() == 0
    assert memory.novelty(faces[10]).min() == 5 * (10 - 2)  # weights 1, 2, 2; tolerance 2
    split = np.concatenate([faces[10][:24], faces[21][24:]])
    assert memory.novelty(split)[:18].min() > 35 and memory.novelty(split)[30:].max() == 0


def test_an_object_that_enters_slowly_is_found_each_time(talking):
    frames, places = with_object(talking, "hand", entry_step=3)
    shares = np.array(kept(frames + frames[ENTERS - 6 :]))
    over = np.array([place[200, 130:158].mean() > 0.3 for place in places])
    again = np.concatenate([over, over[ENTERS - 6 :]])
    assert (shares[again] > 1).mean() > 0.9


def test_a_wide_open_mouth_is_taken_for_an_object_once_at_most(talking):
    frames = list(talking[:30])
    opened = talking[0].copy()
    cv2.ellipse(opened, (144, 205), (34, 36), 0, 0, 360, (30, 20, 60), -1)  # and the chin drops
    for _ in range(3):
        frames += [opened] * 5 + talking[:10]
    shares = np.array(kept(frames))
    assert shares[30:35].max() > 0.5 and shares[45:].max() == 0


def test_parts_of_an_object_that_look_like_the_face_are_filled():
    novelty = np.zeros((48, 48), np.float32)
    novelty[24:44, 12:36] = 20
    novelty[30:38, 20:36] = 0  # a notch
    model = OcclusionModel()
    face = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    model._memory.add(face)
    found = [model._find(novelty, face.T.reshape(face.shape), LANDMARKS) for _ in range(4)][-1]
    assert found[26:42, 22:34].all()
