"""Metrics of SyncNet and the generators on the test split."""

import json
from pathlib import Path

from lipsync_core.evaluation import evaluate
from lipsync_core.runtime import device, files, logs, threads

with logs.job_log(snakemake.log[0]):
    threads.limit(snakemake.threads)
    figures = evaluate.evaluate(
        Path(snakemake.config["results"]),
        snakemake.input.syncnet,
        dict(zip(snakemake.params.variants, snakemake.input.generators, strict=True)),
        device=device.pick(snakemake.config["device"]),
        seed=snakemake.params.seed,
        **snakemake.params.windows,
    )
    files.write_text(snakemake.output[0], json.dumps(figures, indent=2) + "\n")
