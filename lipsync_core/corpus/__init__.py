"""The clips of a corpus: what lies on disk, in which layout, and their index."""
