"""Dubbing: a face (image or video) with a given audio.

REQUIRED INPUTS: a generator, trained here or given; the face and audio files named in the config.
Where all three are given, no corpus is needed.
OUTPUTS: results/dub/faces/<face>.parquet, the faces found in each face file, which all dubbings of
it read; results/<output> for each entry of `dub`, result_voice.mp4 as shipped.
"""


rule dub_faces:
    """Every face in one file to be dubbed."""
    input:
        dub_face_file,
        dub_faces_corpus,
        dub_faces_checkpoint,
        detector_weights(),
    output:
        "<results>/dub/faces/{faces}.parquet",
    log:
        "<logs>/dub_faces/{faces}.log",
    benchmark:
        "<benchmarks>/dub_faces/{faces}.tsv"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=240,
        gpu=int(detects_on_gpu()),
    params:
        entry=dub_faces_entry,
        settings=dub_settings,
        ffmpeg=FFMPEG,
    script:
        "../workflow/scripts/dub_faces.py"


rule infer:
    """One dubbed video."""
    input:
        dub_files,
        dub_corpus,
        dub_speaker_network,
        faces=dub_faces_table,
        checkpoint=dub_checkpoint,
    output:
        "<results>/{dub}",
    log:
        "<logs>/infer/{dub}.log",
    benchmark:
        "<benchmarks>/infer/{dub}.tsv"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=1,
    params:
        entry=dub_entry,
        settings=dub_settings,
        ffmpeg=FFMPEG,
    script:
        "../workflow/scripts/infer.py"
