"""Every face in one file to be dubbed."""

from pathlib import Path

from lipsync_core.dubbing import faces, geometry
from lipsync_core.faces import detection
from lipsync_core.preparation import splits
from lipsync_core.runtime import logs, threads

with logs.job_log(snakemake.log[0]):
    threads.limit(snakemake.threads)
    config, entry = snakemake.config, snakemake.params.entry
    face, _ = splits.dubbing_files(entry, Path(config["results"]), Path(config["data_root"]))
    found = faces.find_faces(
        face,
        faces.FaceSettings.of_entry(entry, snakemake.params.settings),
        config["device"],
        config["models"],
        geometry.Geometry.of_entry(entry),
        entry["static"],
        config["detect"]["batch_size"],
    )
    detection.write_boxes(snakemake.output[0], found)
