"""The training of a generator, without or with GAN."""

from lipsync_core.config import GeneratorVariantConfig
from lipsync_core.runtime import logs
from lipsync_core.training import launch

with logs.job_log(snakemake.log[0]):
    variant = snakemake.wildcards.variant
    pretrained = {key: snakemake.input.get(key) for key in ("pretrained", "disc_pretrained")}
    launch.start_or_resume(
        "generator",
        variant,
        snakemake.config["device"],
        snakemake.threads,
        results=snakemake.config["results"],
        config=GeneratorVariantConfig(**snakemake.params.config),
        image_size=snakemake.params.image_size,
        seed=snakemake.params.seed,
        weights=[snakemake.input.syncnet, *filter(None, pretrained.values())],
        checkpoint=snakemake.output.checkpoint,
        metrics=snakemake.output.metrics,
        samples=snakemake.output.samples,
        preview_dir=snakemake.output.previews,
        syncnet=snakemake.input.syncnet,
        label=variant,
        **pretrained,
    )
