"""From a folder of talking-head videos to trained lip-sync models and a dubbed video."""

from snakemake.utils import min_version

min_version("9.20")


configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/common_dub.smk"


pathvars:
    results=config["results"],
    logs=f"{config['results']}/logs",
    benchmarks=f"{config['results']}/benchmarks",
    models=config["models"],


# Used with `--sdm apptainer` only; built from workflow/container.def.
container: "lipsync.sif"


wildcard_constraints:
    shard=r"\d+",
    variant=any_of(VARIANTS),
    network=any_of(["syncnet", *VARIANTS]),
    dub=any_of(entry["output"] for entry in DUBS),
    faces=any_of(FACES),
    weights=any_of(missing_weights()),


localrules:
    all,
    prepare,
    filelists,
    fetch_weights,


onstart:
    check_cluster()


rule all:
    default_target: True
    input:
        "<results>/report/index.html",
        "<results>/syncnet/checkpoint.pth",
        collect("<results>/{variant}/checkpoint.pth", variant=VARIANTS),
        collect("<results>/{network}/model_card.json", network=["syncnet", *VARIANTS]),
        collect("<results>/{dub}", dub=[entry["output"] for entry in DUBS]),


rule prepare:
    input:
        "<results>/filelists/clips.csv",


include: "rules/demo.smk"
include: "rules/models.smk"
include: "rules/prepare.smk"
include: "rules/sync.smk"
include: "rules/filelists.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/dub.smk"
include: "rules/report.smk"
include: "rules/cards.smk"
