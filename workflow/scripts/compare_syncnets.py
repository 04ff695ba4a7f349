"""Comparison of the SyncNet trained here with the public one."""

import shutil
from pathlib import Path

from lipsync_core.evaluation import syncnet_comparison
from lipsync_core.runtime import device, files, logs, threads

with logs.job_log(snakemake.log[0]):
    threads.limit(snakemake.threads)
    networks = {
        syncnet_comparison.OWN: snakemake.input.own,
        syncnet_comparison.PUBLIC: snakemake.input.public[0],
    }
    found = syncnet_comparison.compare_syncnets(
        snakemake.config["results"],
        networks,
        device.pick(snakemake.config["device"]),
        snakemake.params.seed,
        snakemake.params.windows,
    )
    with files.atomic_path(snakemake.output.best) as temporary:
        shutil.copyfile(networks[found["best"]], temporary)
    syncnet_comparison.write_comparison(found, Path(snakemake.output.comparison))
