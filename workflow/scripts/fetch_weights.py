"""One public weight file into the models folder."""

from pathlib import Path

from lipsync_core import logs, pretrained

with logs.job_log(snakemake.log[0]):
    target = Path(snakemake.output[0])
    pretrained.fetch(target.name, target.parent)
