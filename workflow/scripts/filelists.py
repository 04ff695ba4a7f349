"""Splits, the table of all clips, and their accounting."""

from pathlib import Path

from lipsync_core.config import Config
from lipsync_core.corpus import collection, index
from lipsync_core.data import weights
from lipsync_core.preparation import splits, stages
from lipsync_core.runtime import logs

with logs.job_log(snakemake.log[0]):
    results = Path(snakemake.config["results"])
    config = Config(**snakemake.config)
    encoder = snakemake.input.get("speaker_encoder")
    splits.write_filelists(
        results,
        index.read_index(index.index_path(results)),
        stages.chain(snakemake.config["sync"]["correct"]),
        seed=snakemake.params.seed,
        groups=collection.groups_of(config),
        order=[each.name for each in collection.corpora_of(config)],
        speaker_encoder=Path(encoder) if encoder else None,
        **snakemake.params.split,
    )
    weights.write_weights(results, snakemake.params.weights)
