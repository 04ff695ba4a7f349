"""One dubbed video."""

from pathlib import Path

from lipsync_core import dubbing, filelists, index, logs, threads
from lipsync_core.clips import source_id
from lipsync_core.faces import batching

with logs.job_log(snakemake.log[0]):
    threads.limit(snakemake.threads)
    config, entry = snakemake.config, snakemake.params.entry
    results, data_root = Path(config["results"]), Path(config["data_root"])
    chosen = filelists.held_out_pair(results / "filelists")
    known = {clip.id: clip for clip in index.read_index(index.index_path(results))}
    face, audio = (known[source_id(clip)] for clip in chosen)
    dubbing.dub(
        face.portrait(data_root) if entry["face"] == "auto" else entry["face"],
        audio.sound_source(data_root) if entry["audio"] == "auto" else entry["audio"],
        snakemake.input.checkpoint,
        snakemake.output[0],
        detector=snakemake.params.detector,
        models=config["models"],
        device=config["device"],
        pads=entry["pads"],
        long_side=config["detect"]["long_side"],
        face_det_batch_size=config["detect"]["batch_size"]
        or batching.fitting(config["device"], config["detect"]["long_side"]),
    )
