"""Splits and the table of all clips."""

from pathlib import Path

from lipsync_core import filelists, logs

with logs.job_log(snakemake.log[0]):
    filelists.write_filelists(
        [Path(table) for table in snakemake.input],
        Path(snakemake.output.clips).parent,
        Path(snakemake.config["data_root"]),
        seed=snakemake.params.seed,
        **snakemake.params.split,
    )
