"""Metrics on the test split; the second judge.

REQUIRED INPUTS: results/filelists/*, results/syncnet/checkpoint.pth, the generators' checkpoints.
OUTPUTS: results/evaluation.json, .csv, .txt and evaluation_clips.csv (docs/evaluation.md);
results/second_judge/* where `evaluate.second_judge_steps` is not 0;
results/syncnet/comparison.{json,csv} and best.pth where the public lipsync_expert.pth is there.
"""


rule evaluate:
    """Metrics of SyncNet and the generators on the test split."""
    input:
        "<results>/filelists/clips.csv",
        syncnet="<results>/syncnet/checkpoint.pth",
        sync_loss=SYNC_LOSS,
        generators=collect("<results>/{variant}/checkpoint.pth", variant=VARIANTS),
        second_judge=second_judge(),
        lse=evaluation_weights(),
    output:
        json="<results>/evaluation.json",
        table="<results>/evaluation.csv",
        text="<results>/evaluation.txt",
        clips="<results>/evaluation_clips.csv",
    log:
        "<logs>/evaluate.log",
    benchmark:
        "<benchmarks>/evaluate.tsv"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=120,
        gpu=1,
    params:
        variants=VARIANTS,
        evaluate=CONFIG.evaluate.model_dump(exclude={"second_judge_steps"}),
        seed=CONFIG.seed,
    script:
        "../workflow/scripts/evaluate.py"


rule train_second_judge:
    """A SyncNet with another seed and stronger crops, which no training minimizes."""
    input:
        "<results>/filelists/clips.csv",
        train="<results>/filelists/train.txt",
        val="<results>/filelists/val.txt",
    output:
        checkpoint="<results>/second_judge/checkpoint.pth",
        metrics="<results>/second_judge/metrics.csv",
    log:
        "<logs>/train_second_judge.log",
    benchmark:
        "<benchmarks>/train_second_judge.tsv"
    threads: 8
    resources:
        mem_mb=syncnet_memory,
        runtime=2880,
        gpu=CONFIG.syncnet.num_processes,
    params:
        training="second_judge",
        config=training_config(CONFIG.second_judge()),
        image_size=CONFIG.image_size,
        seed=CONFIG.seed + 1,  # other initial weights and samples than SyncNet's
    script:
        "../workflow/scripts/train_syncnet.py"


rule compare_syncnets:
    """The SyncNet trained here and the public one on the same pairs; the better one is copied."""
    input:
        "<results>/filelists/clips.csv",
        val="<results>/filelists/val.txt",
        own="<results>/syncnet/checkpoint.pth",
        public=PUBLIC_SYNCNET,
    output:
        comparison="<results>/syncnet/comparison.json",
        table="<results>/syncnet/comparison.csv",
        best="<results>/syncnet/best.pth",
    log:
        "<logs>/compare_syncnets.log",
    benchmark:
        "<benchmarks>/compare_syncnets.tsv"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=1,
    params:
        seed=CONFIG.seed,
        windows=CONFIG.syncnet.val_windows,
    script:
        "../workflow/scripts/compare_syncnets.py"
