"""The training of the SyncNet that measures sync."""

from pathlib import Path

from lipsync_core.config import Config, SyncNetConfig
from lipsync_core.corpus import collection, index
from lipsync_core.preparation import draft_split
from lipsync_core.runtime import logs
from lipsync_core.training import bootstrap

with logs.job_log(snakemake.log[0]):
    results = Path(snakemake.config["results"])
    draft = draft_split.draft_split(
        results,
        index.read_index(index.index_path(results)),
        seed=snakemake.params.seed,
        groups=collection.groups_of(Config(**snakemake.config)),
        **snakemake.params.split,
    )
    bootstrap.train(
        results,
        lists={"train": draft.train, "val": draft.val},
        frames=draft.frames,
        keys=draft.keys,
        config=SyncNetConfig(**snakemake.params.config),
        steps=snakemake.params.steps,
        image_size=snakemake.params.image_size,
        seed=snakemake.params.seed,
        device_name=snakemake.config["device"],
        threads=snakemake.threads,
        checkpoint=Path(snakemake.output.checkpoint),
        summary=Path(snakemake.output.summary),
    )
