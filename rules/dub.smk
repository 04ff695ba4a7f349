"""Dubbing: a face (image or video) with a given audio.

REQUIRED INPUTS: a generator, trained here or given; the face and audio files named in the config.
Where all three are given, no corpus is needed.
OUTPUTS: results/<output> for each entry of `dub`, result_voice.mp4 as shipped.
"""


rule infer:
    """One dubbed video."""
    input:
        dub_files,
        dub_corpus,
        checkpoint=dub_checkpoint,
        weights=detector_weights(),
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
        detector=DETECTOR,
        ffmpeg=FFMPEG,
    script:
        "../workflow/scripts/infer.py"
