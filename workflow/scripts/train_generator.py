"""A generator's training, without or with GAN."""

from pathlib import Path

from lipsync_core import device, logs, threads
from lipsync_core.training import generator, runs

with logs.job_log(snakemake.log[0]):
    threads.limit(snakemake.threads)
    results, options = Path(snakemake.config["results"]), snakemake.params.options
    starts = {key: snakemake.input.get(key) for key in ("init", "disc_init")}
    weights = [snakemake.input.expert, *(path for path in starts.values() if path)]
    data = runs.data_digest(results, weights)
    # Two variants with equal options are two runs all the same.
    named = options | {"variant": snakemake.wildcards.variant}
    generator.train(
        results,
        options,
        results / ".runs" / runs.run_signature(named, data, snakemake.params.seed),
        snakemake.output.checkpoint,
        snakemake.output.metrics,
        snakemake.output.samples,
        snakemake.input.expert,
        seed=snakemake.params.seed,
        device=device.pick(snakemake.config["device"]),
        label=snakemake.wildcards.variant,
        **starts,
    )
