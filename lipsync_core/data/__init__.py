"""Datasets of prepared clips: samples for training and evaluation."""
