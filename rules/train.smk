"""Training: the lip-sync expert, then the generator without and with GAN.

REQUIRED INPUTS: results/filelists/*, and the mels and faces they name.
OUTPUTS: results/syncnet/*, results/<wav2lip|wav2lip_gan>/*. The state of a run (to resume it)
lives undeclared in results/.runs/<signature>/.
"""


rule train_syncnet:
    """The expert that judges whether lips and sound belong together."""
    input:
        "<results>/filelists/clips.csv",
        train="<results>/filelists/train.txt",
        val="<results>/filelists/val.txt",
        init=config["syncnet"]["init"] or [],
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
        mem_mb=expert_memory,
        runtime=2880,
        gpu=config["syncnet"]["ranks"],
    params:
        options=training_options(config["syncnet"]),
        seed=config["seed"],
    script:
        "../workflow/scripts/train_syncnet.py"


rule train_generator:
    """The generator, judged by the frozen expert; `wav2lip_gan` adds the quality discriminator."""
    input:
        unpack(generator_start),
        "<results>/filelists/clips.csv",
        train="<results>/filelists/train.txt",
        val="<results>/filelists/val.txt",
        expert="<results>/syncnet/checkpoint.pth",
    output:
        checkpoint="<results>/{variant}/checkpoint.pth",
        metrics="<results>/{variant}/metrics.csv",
        samples=report("<results>/{variant}/samples.png", category="Samples"),
    log:
        "<logs>/train_generator/{variant}.log",
    benchmark:
        "<benchmarks>/train_generator/{variant}.tsv"
    threads: 8
    resources:
        mem_mb=generator_memory,
        runtime=2880,
        gpu=generator_ranks,
    params:
        options=generator_options,
        seed=config["seed"],
    script:
        "../workflow/scripts/train_generator.py"
