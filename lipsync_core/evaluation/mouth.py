"""Measures of the mouth in face crops: opening, sharpness, similarity, motion. NumPy and OpenCV.

Frames are uint8 (T, S, S, 3) BGR crops of one face, consecutive at 25 fps. The mouth lies where
the detectors' boxes put it (`faces.crops.ALIGNED_LANDMARKS`): generated frames have no landmarks.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from lipsync_core.faces.mouth_region import gray, region

SSIM_SIGMA, SSIM_K1, SSIM_K2 = 1.5, 0.01, 0.03


def sharpness(frames: np.ndarray) -> float:
    """Variance of the Laplacian of the gray mouth region (levels 0..255), mean over the frames."""
    levels = gray(region(frames))
    return float(np.mean([cv2.Laplacian(level, cv2.CV_32F).var() for level in levels]))


def motion(frames: np.ndarray) -> float:
    """Mean absolute difference of the mouth region in consecutive frames, in [0, 1]."""
    levels = region(frames).astype(np.float32) / 255
    return float(np.abs(np.diff(levels, axis=0)).mean()) if len(levels) > 1 else math.nan


def jitter(frames: np.ndarray) -> float:
    """Temporal jitter: mean absolute second difference of the mouth region over time, in [0, 2].

    Smooth motion has little, flicker has much.
    """
    levels = region(frames).astype(np.float32) / 255
    return float(np.abs(np.diff(levels, 2, axis=0)).mean()) if len(levels) > 2 else math.nan


def l1(frames: np.ndarray, gt: np.ndarray) -> float:
    """Mean absolute difference of the mouth regions of (T, S, S, 3) and (T, S, S, 3), in [0, 1]."""
    difference = region(frames).astype(np.float32) - region(gt)
    return float(np.abs(difference).mean() / 255)


def psnr(frames: np.ndarray, gt: np.ndarray) -> float:
    """Peak signal-to-noise ratio of the mouth region in dB, over all frames; inf for equal ones."""
    difference = (region(frames).astype(np.float32) - region(gt)) / 255
    mse = float(np.square(difference).mean())
    return math.inf if mse == 0 else -10 * math.log10(mse)


def ssim(frames: np.ndarray, gt: np.ndarray) -> float:
    """Structural similarity of the gray mouth regions, -1..1, mean over the frames.

    Wang et al. (2004): Gaussian window of 11 pixels, sigma 1.5, population moments.
    """
    pairs = zip(gray(region(frames)), gray(region(gt)), strict=True)
    return float(np.mean([_ssim(one, other) for one, other in pairs]))


def _ssim(one: np.ndarray, other: np.ndarray) -> float:
    def smooth(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (11, 11), SSIM_SIGMA)[5:-5, 5:-5]

    c1, c2 = (SSIM_K1 * 255) ** 2, (SSIM_K2 * 255) ** 2
    mean1, mean2 = smooth(one), smooth(other)
    var1 = smooth(one * one) - mean1**2
    var2 = smooth(other * other) - mean2**2
    covariance = smooth(one * other) - mean1 * mean2
    similar = (2 * mean1 * mean2 + c1) * (2 * covariance + c2)
    return float((similar / ((mean1**2 + mean2**2 + c1) * (var1 + var2 + c2))).mean())
