"""Splits, the table of all clips, and their accounting."""

from pathlib import Path

from lipsync_core.config import Config
from lipsync_core.corpus import collection, index
from lipsync_core.corpus.layouts import LAYOUTS
from lipsync_core.data import weights
from lipsync_core.preparation import splits, stages
from lipsync_core.runtime import logs

with logs.job_log(snakemake.log[0]):
    results = Path(snakemake.config["results"])
    corpora = collection.corpora_of(Config(**snakemake.config))
    splits.write_filelists(
        results,
        index.read_index(index.index_path(results)),
        stages.ALL,
        seed=snakemake.params.seed,
        groups={each.name for each in corpora if not LAYOUTS[each.layout].speakers_known},
        order=[each.name for each in corpora],
        **snakemake.params.split,
    )
    weights.write_weights(results, snakemake.params.weights)
