"""A generator's training, without or with GAN."""

from lipsync_core.runtime import logs
from lipsync_core.training import launch

with logs.job_log(snakemake.log[0]):
    variant = snakemake.wildcards.variant
    starts = {key: snakemake.input.get(key) for key in ("init", "disc_init")}
    launch.start_or_resume(
        "generator",
        variant,
        snakemake.config["device"],
        snakemake.threads,
        results=snakemake.config["results"],
        options=snakemake.params.options,
        seed=snakemake.params.seed,
        weights=[snakemake.input.expert, *filter(None, starts.values())],
        checkpoint=snakemake.output.checkpoint,
        metrics=snakemake.output.metrics,
        samples=snakemake.output.samples,
        expert=snakemake.input.expert,
        label=variant,
        **starts,
    )
