"""The report: one self-contained HTML page from the artefacts in `results/` (`page.build`)."""
