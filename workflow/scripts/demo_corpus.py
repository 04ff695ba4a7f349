"""The embedded demo corpus."""

from pathlib import Path

from lipsync_core.demo import corpus
from lipsync_core.runtime import logs

# Worker processes import this file again.
if __name__ == "__main__":
    with logs.job_log(snakemake.log[0]):
        corpus.write_corpus(Path(snakemake.output[0]).parent, processes=snakemake.threads)
