"""Audio-visual sync of the clips, with `sync.correct: measure` or `correct`.

REQUIRED INPUTS: results/{audio,mels,boxes,faces}/<shard>.csv.
OUTPUTS: results/sync/<shard>.csv, which the checks read. Without weights that measure sync,
results/sync/bootstrap/*: a network trained on the clips as they are.
"""


rule bootstrap_sync:
    """A SyncNet that measures sync. A change of the corpus does not train it again; with
    `--forcerun bootstrap_sync` it is."""
    input:
        ancient(lambda wildcards: shard_tables(stages.MELS)),
        ancient(lambda wildcards: shard_tables(stages.FACES)),
    output:
        checkpoint="<results>/sync/bootstrap/checkpoint.pth",
        summary="<results>/sync/bootstrap/summary.json",
    log:
        "<logs>/bootstrap_sync.log",
    benchmark:
        "<benchmarks>/bootstrap_sync.tsv"
    threads: 8
    resources:
        mem_mb=syncnet_memory,
        runtime=2880,
        gpu=CONFIG.syncnet.num_processes,
    params:
        config=training_config(CONFIG.syncnet),
        steps=CONFIG.sync.bootstrap_steps,
        split={"val": CONFIG.split.val, "test": CONFIG.split.test},
        image_size=CONFIG.image_size,
        seed=CONFIG.seed,
    script:
        "../workflow/scripts/bootstrap_sync.py"


rule measure_sync:
    """The audio-visual offset of each clip of a shard, before and after its correction."""
    input:
        table_of(stages.AUDIO),
        table_of(stages.MELS),
        table_of(stages.FACES),
        weights=SYNC_MODEL,
        summary="<results>/sync/bootstrap/summary.json" if BOOTSTRAPPED else [],
        speaker_model=SPEAKER_MODEL,
    output:
        table_of(stages.SYNC),
    log:
        "<logs>/measure_sync/{shard}.log",
    benchmark:
        "<benchmarks>/measure_sync/{shard}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=360,
    params:
        members=members,
        settings=stage_settings(stages.SYNC),
        timeout=CONFIG.check.timeout,
    script:
        "../workflow/scripts/measure_sync.py"
