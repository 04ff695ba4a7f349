"""Faces in video: detectors, detection over many clips, tracks and stored face crops."""
