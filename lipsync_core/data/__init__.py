"""Samples of prepared clips for training and evaluation."""
