"""The report: one self-contained HTML page made from the artefacts of a run.

`page.build` is the entry. Everything here only reads `results/`; nothing trains or measures.
"""
