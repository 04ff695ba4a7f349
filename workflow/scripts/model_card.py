"""The model card of a trained network."""

from pathlib import Path

from lipsync_core.runtime import logs
from lipsync_core.training import model_card

with logs.job_log(snakemake.log[0]):
    card = model_card.model_card(
        snakemake.config["results"],
        snakemake.wildcards.network,
        snakemake.input.checkpoint,
        snakemake.params.config,
        snakemake.params.seed,
        snakemake.params.weights,
        snakemake.params.syncnet,
        snakemake.params.faces,
    )
    model_card.write_card(Path(snakemake.output[0]).parent, card)
