"""Videos to audio, mel spectrograms, face boxes, face crops and checks: one job a shard.

REQUIRED INPUTS: videos below `data_root`.
OUTPUTS: results/{audio,mels,boxes,faces,checks}/<shard>.csv, one row a clip, and beside each table
one file a clip, kept while its key matches.
"""


rule extract_audio:
    """The audio of each clip as 16 kHz mono PCM."""
    input:
        demo_corpus(),
    output:
        table_of(stages.AUDIO),
    log:
        "<logs>/extract_audio/{shard}.log",
    benchmark:
        "<benchmarks>/extract_audio/{shard}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        members=members,
        settings=stage_settings(stages.AUDIO),
        damage=reported_damage(stages.AUDIO),
        timeout=CONFIG.check.timeout,
    script:
        "../workflow/scripts/extract_audio.py"


rule mel_spectrograms:
    """Mel spectrograms (T, 80) at 80 rows a second."""
    input:
        table_of(stages.AUDIO),
    output:
        table_of(stages.MELS),
    log:
        "<logs>/mel_spectrograms/{shard}.log",
    benchmark:
        "<benchmarks>/mel_spectrograms/{shard}.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        members=members,
        settings=stage_settings(stages.MELS),
        damage=reported_damage(stages.MELS),
    script:
        "../workflow/scripts/mel_spectrograms.py"


rule detect_faces:
    """Boxes of every face at 25 fps, detected in keyframes and interpolated between them."""
    input:
        table_of(stages.AUDIO),
        weights=detector_weights(),
    output:
        table_of(stages.BOXES),
    log:
        "<logs>/detect_faces/{shard}.log",
    benchmark:
        "<benchmarks>/detect_faces/{shard}.tsv"
    threads: 4 if detects_on_gpu() else 1  # a GPU waits for the decoders
    resources:
        mem_mb=3000,
        runtime=720,
        gpu=int(detects_on_gpu()),
    params:
        members=members,
        settings=stage_settings(stages.BOXES),
        damage=reported_damage(stages.BOXES),
        timeout=CONFIG.check.timeout,
    script:
        "../workflow/scripts/detect_faces.py"


rule crop_faces:
    """Face crops of the selected track (or of each person), one zip of JPEGs a clip."""
    input:
        table_of(stages.BOXES),
        speaker_model=SPEAKER_MODEL,
    output:
        table_of(stages.FACES),
    log:
        "<logs>/crop_faces/{shard}.log",
    benchmark:
        "<benchmarks>/crop_faces/{shard}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=360,
    params:
        members=members,
        settings=stage_settings(stages.FACES),
        damage=reported_damage(stages.FACES),
        timeout=CONFIG.check.timeout,
    script:
        "../workflow/scripts/crop_faces.py"


rule check_clips:
    """Compare the measures of each clip with the thresholds: kept, or dropped with one reason."""
    input:
        table_of(stages.AUDIO),
        table_of(stages.MELS),
        table_of(stages.BOXES),
        table_of(stages.FACES),
        [table_of(stages.SYNC)] if stages.SYNC in CHAIN else [],
    output:
        table_of(stages.CHECKS),
    log:
        "<logs>/check_clips/{shard}.log",
    benchmark:
        "<benchmarks>/check_clips/{shard}.tsv"
    threads: 1
    resources:
        mem_mb=500,
        runtime=30,
    params:
        members=members,
        settings=stage_settings(CHAIN[-1]),
    script:
        "../workflow/scripts/check_clips.py"
