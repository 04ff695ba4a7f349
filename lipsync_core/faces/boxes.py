"""Box geometry: areas, intersection over union and non-maximum suppression.

A box is x1, y1, x2, y2 in pixels, x to the right, y down.
"""

from __future__ import annotations

import numpy as np


def area(boxes: np.ndarray) -> np.ndarray:
    """Areas (n,) of boxes (n, 4 or more); 0 for an inverted box."""
    return (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union (n, m) of boxes (n, 4 or more) and (m, 4 or more), in [0, 1]."""
    left_top = np.maximum(first[:, None, :2], second[None, :, :2])
    right_bottom = np.minimum(first[:, None, 2:4], second[None, :, 2:4])
    common = (right_bottom - left_top).clip(0).prod(axis=2)
    union = area(first)[:, None] + area(second)[None, :] - common
    return common / np.maximum(union, np.finfo(np.float32).tiny)


def nms(boxes: np.ndarray, iou_threshold: float, border: float = 0.0) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the kept boxes, best score first.

    Parameters
    ----------
    boxes: (n, 5) x1, y1, x2, y2, score.
    iou_threshold: a box is dropped when its IoU with a better one is above this.
    border: added to every width and height; 1 for detectors whose corner pixels are inclusive.
    """
    order = np.argsort(-boxes[:, 4], kind="stable")
    grown = boxes[order, :4] + np.array([0, 0, border, border], boxes.dtype)
    overlapping = iou(grown, grown) > iou_threshold
    kept = np.ones(len(order), bool)
    for index in range(len(order)):
        if kept[index]:
            kept[index + 1 :] &= ~overlapping[index, index + 1 :]
    return order[kept]
