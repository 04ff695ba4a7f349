"""Checks of one shard's clips: kept or dropped."""

from pathlib import Path

from lipsync_core.corpus import index
from lipsync_core.preparation import steps
from lipsync_core.runtime import logs

with logs.job_log(snakemake.log[0]):
    results, shard = Path(snakemake.config["results"]), int(snakemake.wildcards.shard)
    steps.check_clips(index.read_shard(results, shard), results, shard, snakemake.params.settings)
