"""Dubbing: a face speaks a given audio."""
