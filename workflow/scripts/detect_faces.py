"""Face boxes of one shard's clips."""

from pathlib import Path

from lipsync_core.media import ffmpeg
from lipsync_core.preparation import steps
from lipsync_core.runtime import logs, threads

with logs.job_log(snakemake.log[0]), ffmpeg.time_limit(snakemake.params.timeout):
    threads.limit(snakemake.threads)
    shard = steps.Shard.load(snakemake.config, snakemake.wildcards.shard, snakemake.params.settings)
    steps.detect_faces(
        shard,
        batch_size=snakemake.config["detect"]["batch_size"],
        device=snakemake.config["device"],
        models=Path(snakemake.config["models"]),
    )
