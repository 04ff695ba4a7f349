"""One dubbed video."""

from pathlib import Path

from lipsync_core import clips, dubbing, filelists, logs, threads

with logs.job_log(snakemake.log[0]):
    threads.limit(snakemake.threads)
    config, entry = snakemake.config, snakemake.params.entry
    results, data_root = Path(config["results"]), Path(config["data_root"])
    chosen = filelists.held_out_pair(results / "filelists")
    known = {clip.id: clip for clip in clips.read_index(clips.index_path(results))}
    face, audio = (
        known[clips.source_id(clip)].source(data_root) if entry[key] == "auto" else Path(entry[key])
        for key, clip in zip(("face", "audio"), chosen, strict=True)
    )
    dubbing.dub(
        face,
        audio,
        snakemake.input.checkpoint,
        snakemake.output[0],
        detector=snakemake.params.detector,
        models=config["models"],
        device=config["device"],
        pads=entry["pads"],
        face_det_batch_size=config["detect"]["batch_size"],
    )
