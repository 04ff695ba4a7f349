"""The training of the second judge."""

from lipsync_core.config import SyncNetConfig
from lipsync_core.runtime import logs
from lipsync_core.training import launch

with logs.job_log(snakemake.log[0]):
    launch.start_or_resume(
        "syncnet",
        "second_judge",
        snakemake.config["device"],
        snakemake.threads,
        results=snakemake.config["results"],
        config=SyncNetConfig(**snakemake.params.config),
        image_size=snakemake.params.image_size,
        seed=snakemake.params.seed,
        checkpoint=snakemake.output.checkpoint,
        metrics=snakemake.output.metrics,
    )
