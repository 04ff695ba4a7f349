"""Dubbing: make the lips of a face follow given audio."""
