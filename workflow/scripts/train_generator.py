"""A generator's training, without or with GAN."""

from pathlib import Path

from lipsync_core import logs
from lipsync_core.training import launch, runs

with logs.job_log(snakemake.log[0]):
    results, options = Path(snakemake.config["results"]), snakemake.params.options
    variant, seed = snakemake.wildcards.variant, snakemake.params.seed
    starts = {key: snakemake.input.get(key) for key in ("init", "disc_init")}
    weights = [snakemake.input.expert, *(path for path in starts.values() if path)]
    data = runs.data_digest(results, weights)
    run_dir = runs.enter(results / ".runs", variant, options, data, seed)
    launch.run(
        "generator",
        snakemake.config["device"],
        snakemake.threads,
        results=results,
        options=options,
        run_dir=run_dir,
        checkpoint=snakemake.output.checkpoint,
        metrics=snakemake.output.metrics,
        samples=snakemake.output.samples,
        expert=snakemake.input.expert,
        seed=seed,
        label=variant,
        **starts,
    )
    runs.tidy(run_dir, options["keep_runs"])
