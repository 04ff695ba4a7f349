"""The audio-visual offset of one shard's clips, and its correction."""

from pathlib import Path

from lipsync_core.media import ffmpeg
from lipsync_core.preparation import steps
from lipsync_core.runtime import logs, threads
from lipsync_core.training import bootstrap

with logs.job_log(snakemake.log[0]), ffmpeg.time_limit(snakemake.params.timeout):
    threads.limit(snakemake.threads)
    shard = steps.Shard.load(snakemake.config, snakemake.wildcards.shard, snakemake.params.settings)
    speaker_model = snakemake.input.get("speaker_model")
    summary = snakemake.input.get("summary")
    steps.measure_sync(
        shard,
        Path(snakemake.input.weights),
        snakemake.config,
        device=snakemake.config["device"],
        speaker_model=Path(speaker_model) if speaker_model else None,
        trusted=bootstrap.is_trusted(Path(summary)) if summary else True,
    )
