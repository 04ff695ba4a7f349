"""Metrics of trained networks on held-out clips."""
