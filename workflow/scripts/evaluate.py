"""Metrics of SyncNet and the generators on the test split."""

from pathlib import Path

from lipsync_core.evaluation import evaluate, output
from lipsync_core.runtime import device, logs, threads

with logs.job_log(snakemake.log[0]):
    threads.limit(snakemake.threads)
    found = evaluate.evaluate(
        Path(snakemake.config["results"]),
        snakemake.input.syncnet,
        dict(zip(snakemake.params.variants, snakemake.input.generators, strict=True)),
        device=device.pick(snakemake.config["device"]),
        seed=snakemake.params.seed,
        second_judge=next(iter(snakemake.input.get("second_judge", [])), None),
        sync_loss=snakemake.input.sync_loss,
        models=snakemake.config["models"],
        **snakemake.params.evaluate,
    )
    output.write(found, Path(snakemake.output.json))
