"""The expert's training."""

from lipsync_core.runtime import logs
from lipsync_core.training import launch

with logs.job_log(snakemake.log[0]):
    init = snakemake.input.get("init") or None
    launch.start_or_resume(
        "expert",
        "syncnet",
        snakemake.config["device"],
        snakemake.threads,
        results=snakemake.config["results"],
        options=snakemake.params.options,
        seed=snakemake.params.seed,
        weights=[init] if init else [],
        checkpoint=snakemake.output.checkpoint,
        metrics=snakemake.output.metrics,
        init=init,
        data_check=snakemake.output.data_check,
    )
