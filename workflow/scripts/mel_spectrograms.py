"""Mel spectrograms of one shard's clips."""

from lipsync_core.preparation import steps
from lipsync_core.runtime import logs

with logs.job_log(snakemake.log[0]):
    shard = steps.Shard.load(snakemake.config, snakemake.wildcards.shard, snakemake.params.settings)
    steps.mel_spectrograms(shard)
