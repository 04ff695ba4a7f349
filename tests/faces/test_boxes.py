import numpy as np
import pytest

from lipsync_core.faces.boxes import area, iou, nms


def test_overlap_of_known_boxes():
    first = np.array([[0, 0, 10, 10]], np.float32)
    second = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]], np.float32)
    assert iou(first, second)[0] == pytest.approx([1, 1 / 3, 0, 0])


def test_area_of_an_inverted_box_is_zero():
    assert area(np.array([[0, 0, 2, 3], [5, 5, 4, 9]], np.float32)).tolist() == [6, 0]


def test_suppress_keeps_the_best_of_each_group_in_order_of_score():
    boxes = np.array(
        [[0, 0, 10, 10, 0.6], [1, 0, 11, 10, 0.9], [50, 50, 60, 60, 0.7], [2, 0, 12, 10, 0.8]],
        np.float32,
    )
    assert nms(boxes, 0.3).tolist() == [1, 2]


def test_a_suppressed_box_suppresses_nothing():
    chain = np.array([[0, 0, 10, 1, 0.9], [5, 0, 15, 1, 0.8], [10, 0, 20, 1, 0.7]], np.float32)
    assert nms(chain, 0.3).tolist() == [0, 2]


def test_no_boxes():
    assert nms(np.zeros((0, 5), np.float32), 0.3).tolist() == []
