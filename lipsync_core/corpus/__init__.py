"""The clips of a corpus: discovery in the layouts of known datasets, index and journals."""
