"""The report: one self-contained HTML page from the artifacts in `results/` (`page.build`)."""
