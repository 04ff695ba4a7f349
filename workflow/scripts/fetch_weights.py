"""One public weight file into the models folder."""

from pathlib import Path

from lipsync_core import pretrained
from lipsync_core.runtime import logs

with logs.job_log(snakemake.log[0]):
    target = Path(snakemake.output[0])
    pretrained.fetch_weights(target.name, target.parent)
