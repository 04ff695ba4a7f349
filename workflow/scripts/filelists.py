"""Splits, the table of all clips, and their accounting."""

from pathlib import Path

from lipsync_core.corpus import index
from lipsync_core.corpus.layouts import LAYOUTS
from lipsync_core.preparation import splits, stages
from lipsync_core.runtime import logs

with logs.job_log(snakemake.log[0]):
    results = Path(snakemake.config["results"])
    splits.write_filelists(
        results,
        index.read_index(index.index_path(results)),
        stages.ALL,
        seed=snakemake.params.seed,
        speakers_known=LAYOUTS[snakemake.config["layout"]].speakers_known,
        **snakemake.params.split,
    )
