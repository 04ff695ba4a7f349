"""The expert's training."""

from pathlib import Path

from lipsync_core import device, logs, threads
from lipsync_core.training import expert, runs

with logs.job_log(snakemake.log[0]):
    threads.limit(snakemake.threads)
    results, options = Path(snakemake.config["results"]), snakemake.params.options
    init = snakemake.input.get("init") or None
    data = runs.data_digest(results, [init] if init else [])
    expert.train(
        results,
        options,
        results / ".runs" / runs.run_signature(options, data, snakemake.params.seed),
        snakemake.output.checkpoint,
        snakemake.output.metrics,
        seed=snakemake.params.seed,
        device=device.pick(snakemake.config["device"]),
        init=init,
        judgement=snakemake.output.learnability,
    )
