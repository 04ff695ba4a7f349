"""One track of all faces, ready for cropping."""

import numpy as np

from lipsync_core.faces.detection import Detections
from lipsync_core.faces.track import Track
from lipsync_core.faces.tracking.association import link
from lipsync_core.faces.tracking.tracks import fill_and_smooth, select_track


def main_track(detections: Detections, max_gap: int, smooth: int, choice: str = "largest") -> Track:
    """The selected track, gaps filled and boxes smoothed; empty when there is no face."""
    if not (linked := link(detections)):
        return Track(np.zeros(0, np.int32), np.zeros((0, 4), np.float32))
    return fill_and_smooth(select_track(linked, choice), max_gap, smooth)
