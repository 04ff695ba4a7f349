"""Audio of one shard's clips."""

from pathlib import Path

from lipsync_core.corpus import index
from lipsync_core.media import ffmpeg
from lipsync_core.preparation import steps
from lipsync_core.runtime import logs

with logs.job_log(snakemake.log[0]), ffmpeg.time_limit(snakemake.params.timeout):
    results, shard = Path(snakemake.config["results"]), int(snakemake.wildcards.shard)
    steps.extract_audio(
        index.read_shard(results, shard),
        Path(snakemake.config["data_root"]),
        results,
        shard,
        snakemake.params.settings,
    )
