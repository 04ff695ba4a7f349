"""Mel spectrograms of one shard's clips."""

from pathlib import Path

from lipsync_core.corpus import index
from lipsync_core.preparation import steps
from lipsync_core.runtime import logs

with logs.job_log(snakemake.log[0]):
    results, shard = Path(snakemake.config["results"]), int(snakemake.wildcards.shard)
    steps.mel_spectrograms(
        index.read_shard(results, shard), results, shard, snakemake.params.settings
    )
