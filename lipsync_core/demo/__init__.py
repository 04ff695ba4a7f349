"""The embedded demo corpus: synthetic talking faces, so that everything runs with no data."""
