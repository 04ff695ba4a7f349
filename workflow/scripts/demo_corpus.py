"""The embedded demo corpus."""

from pathlib import Path

from lipsync_core import logs
from lipsync_core.demo import corpus

with logs.job_log(snakemake.log[0]):
    corpus.write_corpus(Path(snakemake.output[0]).parent, processes=snakemake.threads)
