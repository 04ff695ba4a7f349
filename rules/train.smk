"""Training: SyncNet, then the generator without and with GAN loss.

REQUIRED INPUTS: results/filelists/*, and the mels and faces they name.
OUTPUTS: results/syncnet/*, results/<wav2lip|wav2lip_gan>/*. The state of a run (to resume it)
lives undeclared in results/.runs/<signature>/.
"""


rule train_syncnet:
    """SyncNet, which measures whether lips and audio are in sync."""
    input:
        "<results>/filelists/clips.csv",
        train="<results>/filelists/train.txt",
        val="<results>/filelists/val.txt",
        pretrained=syncnet_start(),
        bootstrap=bootstrap_start(),
    output:
        checkpoint="<results>/syncnet/checkpoint.pth",
        metrics="<results>/syncnet/metrics.csv",
        data_check="<results>/syncnet/data_check.json",
    log:
        "<logs>/train_syncnet.log",
    benchmark:
        "<benchmarks>/train_syncnet.tsv"
    threads: 8
    resources:
        mem_mb=syncnet_memory,
        runtime=2880,
        gpu=CONFIG.syncnet.num_processes,
    params:
        config=training_config(CONFIG.syncnet),
        image_size=CONFIG.image_size,
        seed=CONFIG.seed,
    script:
        "../workflow/scripts/train_syncnet.py"


rule train_generator:
    """The generator, with the sync loss of the frozen SyncNet; `wav2lip_gan` adds the discriminator."""
    input:
        unpack(pretrained_files),
        "<results>/filelists/clips.csv",
        train="<results>/filelists/train.txt",
        val="<results>/filelists/val.txt",
        syncnet=SYNC_LOSS,
    output:
        checkpoint="<results>/{variant}/checkpoint.pth",
        metrics="<results>/{variant}/metrics.csv",
        samples=report("<results>/{variant}/samples.png", category="Samples"),
        previews=directory("<results>/{variant}/previews"),
    log:
        "<logs>/train_generator/{variant}.log",
    benchmark:
        "<benchmarks>/train_generator/{variant}.tsv"
    threads: 8
    resources:
        mem_mb=generator_memory,
        runtime=2880,
        gpu=lambda wildcards: generator_config(wildcards).num_processes,
    params:
        config=lambda wildcards: training_config(generator_config(wildcards)),
        image_size=CONFIG.image_size,
        seed=CONFIG.seed,
    script:
        "../workflow/scripts/train_generator.py"
