"""What the rules share: the validated config, the clips and their shards. No rules here."""

import re
from importlib import metadata
from pathlib import Path

from snakemake.exceptions import WorkflowError

from lipsync_core import config as settings
from lipsync_core import pretrained
from lipsync_core.corpus import clips as discovery
from lipsync_core.corpus import index as indexing
from lipsync_core.corpus import journal
from lipsync_core.demo import plan
from lipsync_core.errors import LipsyncError
from lipsync_core.media import ffmpeg_binary
from lipsync_core.preparation import stages
from lipsync_core.runtime import interpreter, slurm

# The folder of the Snakefile, whatever imports it.
HOME = Path(workflow.current_basedir).parent

interpreter.reach_by_name()


def complete_config() -> dict:
    """The config with its preset and the defaults; a mistake stops here, before any job."""
    schema = settings.load_schema(HOME / "workflow/schemas/config.schema.yaml")
    try:
        interpreter.require_utf8()
        completed = settings.complete(settings.with_preset(config, HOME / "config/presets"), schema)
        settings.check_sizes(completed)
        return completed
    except LipsyncError as error:
        raise WorkflowError(str(error)) from None


config = complete_config()


def ffmpeg_identity() -> str:
    """The version of the ffmpeg that the config names; the jobs inherit the choice."""
    try:
        return ffmpeg_binary.choose(config["ffmpeg"]).identity
    except LipsyncError as error:
        raise WorkflowError(str(error)) from None


FFMPEG = ffmpeg_identity()

DATA_ROOT = Path(config["data_root"])
RESULTS = Path(config["results"])
# The demo corpus stands in for videos in this folder only.
DEMO_HOME = HOME / "data_root"
VARIANTS = config["generator"]["variants"]
DUBS = config["dub"]
DETECTOR = pretrained.resolve(config["detector"], config["models"])


def known_clips() -> list:
    """The last index, where hashes need not be computed again."""
    by_content = config["signature"] == "content"
    return indexing.read_index(indexing.index_path(RESULTS)) if by_content else []


def speaker_judge() -> list:
    """The networks that tell who speaks and measure sync, where the config asks for them."""
    try:
        settings.check_crop_mode(config["crop"]["mode"], DETECTOR)
        judges = [pretrained.sync_model_weights(config["check"]["sync_model"])]
        if config["track"]["choice"] == "speaking":
            judges.append(
                pretrained.active_speaker_weights(config["track"]["expert"], config["models"])
            )
        return sorted({str(path) for path in judges if path})
    except LipsyncError as error:
        raise WorkflowError(str(error)) from None


SPEAKER_JUDGE = speaker_judge()


def needs_corpus(entry) -> bool:
    """Whether a dubbing takes its face, its audio or its generator from the corpus."""
    return "auto" in (entry["face"], entry["audio"]) or not entry["checkpoint"]


def corpus_index() -> tuple:
    """The index of the clips, and what is wrong with the corpus.

    The head process looks for the clips, every other one reads their summary. A dubbing that needs
    none goes on without them: then the mistake is said by the rule that needs them.
    """
    known = indexing.read_summary(RESULTS)
    if not workflow.is_main_process and known is not None:
        return known, ""
    planned = plan.plan() if DATA_ROOT.resolve() == DEMO_HOME.resolve() else []
    demo = {f"main/{clip.id}.mp4": plan.signature(clip) for clip in planned}
    try:
        found = discovery.discover(
            DATA_ROOT,
            config["shards"],
            config["signature"],
            previous=known_clips(),
            demo=demo,
            demo_splits={clip.id: clip.split for clip in planned},
            layout=config["layout"],
            segments=RESULTS / "cuts",
            ffmpeg=FFMPEG,
            partial_lists=config["split"]["partial_lists"],
        )
    except LipsyncError as error:
        if all(needs_corpus(entry) for entry in DUBS):
            raise WorkflowError(str(error)) from None
        return indexing.Summary({}, "", 0, False, ""), str(error)
    return indexing.write_index(RESULTS, found, demo=found[0].path in demo), ""


INDEX, NO_CORPUS = corpus_index()
SHARDS = INDEX.members
DEMO = INDEX.demo


def any_of(names) -> str:
    """A regular expression for exactly these names; without any, one that matches nothing."""
    return "|".join(re.escape(name) for name in names) or r"(?!)"


def missing_weights() -> list:
    """The public weight files that are not in the models folder."""
    return [name for name in pretrained.KNOWN_WEIGHTS if not Path(config["models"], name).is_file()]


def members(wildcards) -> str:
    """Changes when the shard's clips change."""
    return SHARDS[int(wildcards.shard)]


def stage_settings(stage) -> dict:
    """The stage's version and exactly the settings that its output depends on."""
    resolved = config | {"detector": DETECTOR, "ffmpeg": FFMPEG}
    return stage.params(resolved) | {"version": stage.version}


def reported_damage(stage):
    """Changes when a file of the shard was found damaged, so that the shard's job runs again."""
    found = journal.reported_damage(RESULTS / stage.folder)
    return lambda wildcards: found.get(int(wildcards.shard), "")


def detector_weights() -> list:
    """The weight file that the detector reads, fetched by a rule where it is missing."""
    return [f"{config['models']}/s3fd.pth"] if DETECTOR == "s3fd" else []


def detects_on_gpu() -> bool:
    """S3FD runs on the GPU where there is one; CenterFace only with the package onnxruntime-gpu."""
    if config["device"] == "cpu" or DETECTOR == "s3fd":
        return config["device"] != "cpu"
    try:
        return bool(metadata.version("onnxruntime-gpu"))
    except metadata.PackageNotFoundError:
        return False


def check_cluster() -> None:
    """Before the first job: a node of the SLURM cluster has the cores that each job asks for."""
    if workflow.executor_plugin.name != "slurm":
        return
    asked = (
        (job.rule.name, job.resources.get("slurm_partition", ""), job.threads)
        for job in workflow.dag.needrun_jobs()
        if not job.is_local
    )
    try:
        slurm.check_cores(asked, slurm.node_cores())
    except LipsyncError as error:
        raise WorkflowError(str(error)) from None


def demo_corpus() -> list:
    """The demo's manifest where the demo is used."""
    return [str(DATA_ROOT / "demo.json")] if DEMO else []


def shard_tables(stage) -> list:
    """The tables of all shards of a stage; an error where there is no corpus."""
    if NO_CORPUS:
        raise WorkflowError(NO_CORPUS)
    return [f"{RESULTS}/{stage.folder}/{shard}.csv" for shard in SHARDS]


def checked_clips(wildcards) -> list:
    """The account of every clip: what only a corpus gives is asked for when it is needed."""
    return shard_tables(stages.CHECKS)


def table_of(stage) -> str:
    """The table of one shard of a stage, with its wildcard."""
    return f"{RESULTS}/{stage.folder}/{{shard}}.csv"


def dub_entry(wildcards) -> dict:
    """The dubbing of the config whose output is asked for."""
    return next(entry for entry in DUBS if entry["output"] == wildcards.dub)


def dub_checkpoint(wildcards) -> str:
    """The generator that a dubbing uses: its own, else the last variant trained."""
    return dub_entry(wildcards)["checkpoint"] or f"{RESULTS}/{VARIANTS[-1]}/checkpoint.pth"


def dub_files(wildcards) -> list:
    """The files a dubbing reads; "auto" means clips of the corpus, which are no extra input."""
    entry = dub_entry(wildcards)
    return [entry[key] for key in ("face", "audio") if entry[key] != "auto"]


def dub_corpus(wildcards) -> list:
    """The table of the clips, where a dubbing needs them."""
    return [f"{RESULTS}/filelists/clips.csv"] if needs_corpus(dub_entry(wildcards)) else []


def training_options(section: dict) -> dict:
    """What a training computes with: a section's numbers, without the files it starts from."""
    files = ("variants", "wav2lip", "wav2lip_gan", "init", "disc_init")
    numbers = {key: value for key, value in section.items() if key not in files}
    return numbers | {"image_size": config["image_size"]}


def generator_section(wildcards) -> dict:
    """The keys of one variant: the common ones, then its own."""
    return config["generator"] | config["generator"][wildcards.variant]


def generator_options(wildcards) -> dict:
    """What the training of one variant computes with."""
    return training_options(generator_section(wildcards))


def generator_ranks(wildcards) -> int:
    """The processes, and so the GPUs, that the training of one variant asks for."""
    return generator_section(wildcards)["ranks"]


def training_memory(section: dict, windows: int, window_mb: float, attempt: int) -> int:
    """MB: each process with its weights and decoded frames, and the batch.

    window_mb: of a window at 96 px and full width. Measured on a processor at full width (a GPU
    takes the batch into its own memory): 0.8 GB and the states beside the windows; a window of the
    generator 240 MB, at 288 px 1140 MB; one of the expert 14 MB, at 288 px 42 MB.
    """
    larger = section["width"] * (config["image_size"] / 96) ** 1.5
    batch = windows * window_mb * larger / section["accumulate"]
    return attempt * round(section["ranks"] * (4000 + 1.1 * section["cache_mb"]) + batch)


def expert_memory(wildcards, attempt) -> int:
    """MB for the expert's training."""
    section = config["syncnet"]
    return training_memory(section, section["clips"] * section["windows"], 14, attempt)


def generator_memory(wildcards, attempt) -> int:
    """MB for the training of one variant."""
    section = generator_section(wildcards)
    return training_memory(section, section["batch"], 250, attempt)


def generator_start(wildcards) -> dict:
    """The weight files that a variant starts from; the name of a variant means its checkpoint.

    A variant that is not trained here is no start: the training then begins at random.
    """
    files = {}
    for key in ("init", "disc_init"):
        init = generator_section(wildcards)[key]
        if init in VARIANTS:
            files[key] = f"{RESULTS}/{init}/checkpoint.pth"
        elif init and init not in config["generator"]:
            files[key] = init
    return files
