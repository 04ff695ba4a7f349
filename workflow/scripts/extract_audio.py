"""Audio of one shard's clips."""

from lipsync_core.media import ffmpeg
from lipsync_core.preparation import steps
from lipsync_core.runtime import logs

with logs.job_log(snakemake.log[0]), ffmpeg.time_limit(snakemake.params.timeout):
    shard = steps.Shard.load(snakemake.config, snakemake.wildcards.shard, snakemake.params.settings)
    steps.extract_audio(shard)
