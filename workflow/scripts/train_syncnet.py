"""The training of SyncNet, and of the second judge, which is one."""

from lipsync_core.config import SyncNetConfig
from lipsync_core.runtime import logs
from lipsync_core.training import bootstrap, launch

with logs.job_log(snakemake.log[0]):
    pretrained = snakemake.input.get("pretrained") or None
    if snakemake.input.get("bootstrap"):
        pretrained = bootstrap.start_weights(snakemake.input.bootstrap, snakemake.config["results"])
    launch.start_or_resume(
        "syncnet",
        snakemake.params.get("training", "syncnet"),
        snakemake.config["device"],
        snakemake.threads,
        results=snakemake.config["results"],
        config=SyncNetConfig(**snakemake.params.config),
        image_size=snakemake.params.image_size,
        seed=snakemake.params.seed,
        weights=[pretrained] if pretrained else [],
        checkpoint=snakemake.output.checkpoint,
        metrics=snakemake.output.metrics,
        pretrained=pretrained,
        data_check=snakemake.output.get("data_check"),
    )
