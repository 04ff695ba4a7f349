"""One public weight file into the models folder."""

from pathlib import Path

from lipsync_core import logs, weights

with logs.job_log(snakemake.log[0]):
    target = Path(snakemake.output[0])
    weights.fetch(target.name, target.parent)
