"""The HTML report."""

from pathlib import Path

from lipsync_core.report import page
from lipsync_core.runtime import logs

with logs.job_log(snakemake.log[0]):
    page.build(
        Path(snakemake.config["results"]),
        Path(snakemake.output[0]),
        config=snakemake.config,
        dubs=snakemake.params.dubs,
        variants=snakemake.params.variants,
        demo=snakemake.params.demo,
    )
