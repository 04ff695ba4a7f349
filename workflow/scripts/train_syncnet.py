"""The expert's training."""

from pathlib import Path

from lipsync_core import logs
from lipsync_core.training import launch, runs

with logs.job_log(snakemake.log[0]):
    results, options = Path(snakemake.config["results"]), snakemake.params.options
    init = snakemake.input.get("init") or None
    data = runs.data_digest(results, [init] if init else [])
    run_dir = runs.enter(results / ".runs", "syncnet", options, data, snakemake.params.seed)
    launch.run(
        "expert",
        snakemake.config["device"],
        snakemake.threads,
        results=results,
        options=options,
        run_dir=run_dir,
        checkpoint=snakemake.output.checkpoint,
        metrics=snakemake.output.metrics,
        seed=snakemake.params.seed,
        init=init,
        judgement=snakemake.output.learnability,
    )
    runs.tidy(run_dir, options["keep_runs"])
