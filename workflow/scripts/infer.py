"""One dubbed video."""

from pathlib import Path

from lipsync_core.dubbing import dub
from lipsync_core.faces import batching
from lipsync_core.preparation import splits
from lipsync_core.runtime import logs, threads

with logs.job_log(snakemake.log[0]):
    threads.limit(snakemake.threads)
    config, entry = snakemake.config, snakemake.params.entry
    results, data_root = Path(config["results"]), Path(config["data_root"])
    face, audio = splits.dubbing_files(entry, Path(config["results"]), Path(config["data_root"]))
    dub.dub(
        face,
        audio,
        snakemake.input.checkpoint,
        snakemake.output[0],
        detector=snakemake.params.detector,
        models=config["models"],
        device=config["device"],
        fps=entry["fps"],
        pads=entry["pads"],
        long_side=config["detect"]["long_side"],
        face_det_batch_size=config["detect"]["batch_size"]
        or batching.max_batch_size(config["device"], config["detect"]["long_side"]),
    )
