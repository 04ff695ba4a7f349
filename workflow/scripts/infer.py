"""One dubbed video."""

from pathlib import Path

from lipsync_core.config import DubOptions
from lipsync_core.dubbing import dub, faces
from lipsync_core.preparation import splits
from lipsync_core.runtime import logs, threads

with logs.job_log(snakemake.log[0]):
    threads.limit(snakemake.threads)
    config, entry = snakemake.config, snakemake.params.entry
    face, audio = splits.dubbing_files(entry, Path(config["results"]), Path(config["data_root"]))
    dub.dub(
        face,
        {voice["face_select"]: voice["audio"] for voice in entry["voices"]} or audio,
        snakemake.input.checkpoint,
        snakemake.output[0],
        device=config["device"],
        models=config["models"],
        settings=faces.FaceSettings.of_entry(entry, snakemake.params.settings),
        boxes=next(iter(snakemake.input.faces), None),
        **{name: entry[name] for name in DubOptions.model_fields if name in entry},
    )
