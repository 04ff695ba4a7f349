"""Shared by the rules: the validated config, the clips and their shards. Defines no rule."""

import re
from importlib import metadata
from pathlib import Path

from snakemake.exceptions import WorkflowError

from lipsync_core import pretrained
from lipsync_core.config import Config, TrainingConfig
from lipsync_core.corpus import collection
from lipsync_core.corpus import index as indexing
from lipsync_core.corpus import journal, licences
from lipsync_core.demo import plan
from lipsync_core.errors import LipsyncError
from lipsync_core.media import ffmpeg_binary
from lipsync_core.preparation import stages
from lipsync_core.runtime import config_file, interpreter, slurm

# The folder of the Snakefile, whatever imports it.
HOME = Path(workflow.current_basedir).parent

interpreter.use_name_without_spaces()


def read_config() -> Config:
    """The config with its preset and the defaults; a mistake stops the run before any job."""
    try:
        interpreter.require_utf8()
        return config_file.load(config, HOME / "config/presets")
    except LipsyncError as error:
        raise WorkflowError(str(error)) from None


CONFIG = read_config()
# The same for path variables and scripts. A key that is None has no other value there.
config = CONFIG.model_dump(exclude_none=True)


def ffmpeg_identity() -> str:
    """The version of the ffmpeg that the config names; the jobs inherit the choice."""
    try:
        return ffmpeg_binary.choose(CONFIG.ffmpeg).identity
    except LipsyncError as error:
        raise WorkflowError(str(error)) from None


FFMPEG = ffmpeg_identity()

DATA_ROOT = Path(CONFIG.data_root)
CORPORA = collection.corpora_of(CONFIG)
RESULTS = Path(CONFIG.results)
# The demo corpus stands in for videos in this folder only.
DEMO_HOME = HOME / "data_root"
VARIANTS = CONFIG.generator.variants
DUBS = config["dub"]
DETECTOR = pretrained.resolve_detector(CONFIG.detector, CONFIG.models)


def known_clips() -> list:
    """The last index, whose hashes of unchanged files are reused."""
    by_content = CONFIG.signature == "content"
    return indexing.read_index(indexing.index_path(RESULTS)) if by_content else []


def speaker_model() -> list:
    """The network that selects the active speaker, where the config asks for that."""
    try:
        config_file.check_crop_mode(CONFIG.crop.mode, DETECTOR)
        if CONFIG.track.select != "active_speaker":
            return []
        return [str(pretrained.active_speaker_weights(CONFIG.sync.model, CONFIG.models))]
    except LipsyncError as error:
        raise WorkflowError(str(error)) from None


def sync_model() -> str:
    """The network that measures sync; without one that is given, the bootstrap makes it."""
    try:
        given = pretrained.sync_model_weights(CONFIG.sync.model)
    except LipsyncError as error:
        raise WorkflowError(str(error)) from None
    found = given or pretrained.find_weights(pretrained.LSE_WEIGHTS, CONFIG.models)
    return str(found or f"{RESULTS}/sync/bootstrap/checkpoint.pth")


def public_syncnet() -> list:
    """The public SyncNet of the sync loss, where it is there and of the size of this run."""
    found = pretrained.find_weights(pretrained.EXPERT_WEIGHTS, CONFIG.models)
    return [str(found)] if found and CONFIG.image_size == 96 else []


def sync_loss_network() -> str:
    """The checkpoint of the SyncNet that trains the generators."""
    if CONFIG.generator.syncnet == "public":
        if CONFIG.image_size != 96:
            raise WorkflowError(
                f"generator.syncnet: public has 96 pixels, not {CONFIG.image_size}; use own"
            )
        return next(iter(PUBLIC_SYNCNET), f"{CONFIG.models}/{pretrained.EXPERT_WEIGHTS}")
    best = CONFIG.generator.syncnet == "best" and PUBLIC_SYNCNET
    return f"{RESULTS}/syncnet/{'best' if best else 'checkpoint'}.pth"


SPEAKER_MODEL = speaker_model()
PUBLIC_SYNCNET = public_syncnet()
SYNC_LOSS = sync_loss_network()
CHAIN = stages.chain(CONFIG.sync.correct)
SYNC_MODEL = sync_model()
BOOTSTRAPPED = stages.SYNC in CHAIN and SYNC_MODEL.startswith(f"{RESULTS}/sync/bootstrap/")
WEIGHTS = licences.weights_of(CONFIG, DETECTOR)


def needs_corpus(entry) -> bool:
    """Whether a dubbing takes its face, its audio or its generator from the corpus."""
    auto_audio = entry["audio"] == "auto" and not entry["voices"]
    return entry["face"] == "auto" or auto_audio or not entry["checkpoint"]


def corpus_index() -> tuple:
    """The index of the clips, and an error message if there is no corpus.

    The main process discovers the clips, job processes read their summary. If a dubbing needs no
    corpus, the error is raised later, by a rule that needs one.
    """
    known = indexing.read_summary(RESULTS)
    if not workflow.is_main_process and known is not None:
        return known, ""
    alone = not CONFIG.corpora and DATA_ROOT.resolve() == DEMO_HOME.resolve()
    planned = plan.plan() if alone else []
    demo = {f"main/{clip.id}.mp4": plan.signature(clip) for clip in planned}
    try:
        found = collection.discover_corpora(
            CORPORA,
            CONFIG.shards,
            RESULTS / "cuts",
            CONFIG.signature,
            previous=known_clips(),
            ffmpeg=FFMPEG,
            partial_lists=CONFIG.split.partial_lists,
            demo=demo,
            demo_splits={clip.id: clip.split for clip in planned},
        )
        if CONFIG.licences == "commercial":
            licences.check_clips(found, CORPORA)
    except LipsyncError as error:
        if all(needs_corpus(entry) for entry in DUBS):
            raise WorkflowError(str(error)) from None
        return indexing.Summary({}, "", 0, False, ""), str(error)
    return indexing.write_index(RESULTS, found, demo=found[0].path in demo), ""


def check_weights() -> None:
    """Stop before any job if the run reads weights that the config's `licences` refuse."""
    try:
        if CONFIG.licences == "commercial":
            licences.check_weights(WEIGHTS)
    except LipsyncError as error:
        raise WorkflowError(str(error)) from None


check_weights()
INDEX, NO_CORPUS = corpus_index()
SHARDS = INDEX.members
DEMO = INDEX.demo


def any_of(names) -> str:
    """A regular expression for exactly these names; without any, one that matches nothing."""
    return "|".join(re.escape(name) for name in names) or r"(?!)"


def missing_weights() -> list:
    """The public weight files that are not in the models folder."""
    return [name for name in pretrained.KNOWN_WEIGHTS if not Path(CONFIG.models, name).is_file()]


def members(wildcards) -> str:
    """A digest that changes when the shard's clips change."""
    return SHARDS[int(wildcards.shard)]


def stage_settings(stage) -> dict:
    """The stage's version and exactly the settings that its output depends on."""
    resolved = CONFIG.model_dump() | {"detector": DETECTOR, "ffmpeg": FFMPEG}
    return stage.params(resolved) | {"version": stage.version}


def reported_damage(stage):
    """A value that changes when a file of the shard was found damaged, so that its job runs again."""
    found = journal.reported_damage(RESULTS / stage.folder)
    return lambda wildcards: found.get(int(wildcards.shard), "")


def detector_weights() -> list:
    """The weight file that the detector reads, fetched by a rule where it is missing."""
    return [f"{CONFIG.models}/s3fd.pth"] if DETECTOR == "s3fd" else []


def detects_on_gpu() -> bool:
    """S3FD runs on the GPU where there is one; CenterFace only with the package onnxruntime-gpu."""
    if CONFIG.device == "cpu" or DETECTOR == "s3fd":
        return CONFIG.device != "cpu"
    try:
        return bool(metadata.version("onnxruntime-gpu"))
    except metadata.PackageNotFoundError:
        return False


def check_cluster() -> None:
    """Stop before the first job if no node of the SLURM cluster has the cores that a job requests."""
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


def prepared_tables(wildcards) -> list:
    """The tables of all stages and shards, all of which the account of clips reads; evaluated late,
    because dubbing given files needs no corpus."""
    return [table for stage in CHAIN for table in shard_tables(stage)]


def table_of(stage) -> str:
    """The table of one shard of a stage, with its wildcard."""
    return f"{RESULTS}/{stage.folder}/{{shard}}.csv"


def training_config(section: TrainingConfig) -> dict:
    """What a training computes with: a section's keys, without the files it starts from."""
    return section.model_dump(exclude={"pretrained", "disc_pretrained"})


def generator_config(wildcards) -> TrainingConfig:
    """The config of one variant: the common keys, then its own."""
    return CONFIG.generator.variant(wildcards.variant)


def training_memory(section: TrainingConfig, windows: int, window_mb: float, attempt: int) -> int:
    """MB: each process with its weights and decoded frames, and the batch.

    window_mb: of a window at 96 px and full width. Measured on a processor at full width (a GPU
    takes the batch into its own memory): 0.8 GB and the states beside the windows; a window of the
    generator 240 MB, at 288 px 1140 MB; one of SyncNet 14 MB, at 288 px 42 MB.
    """
    larger = section.width * (CONFIG.image_size / 96) ** 1.5
    batch = windows * window_mb * larger / section.grad_accumulation
    return attempt * round(section.num_processes * (4000 + 1.1 * section.cache_mb) + batch)


def speaker_encoder() -> list:
    """Weights for the voice prints that `split.merge_aliases` compares, if they are there."""
    weights = Path(CONFIG.models) / pretrained.SPEAKER_ENCODER_WEIGHTS
    return [str(weights)] if weights.is_file() and CONFIG.split.merge_aliases else []


def syncnet_start() -> str | list:
    """The weights that SyncNet starts from; a new checkout does not make the bundled ones newer."""
    start = pretrained.syncnet_start(CONFIG.syncnet.pretrained)
    bundled = CONFIG.syncnet.pretrained == pretrained.DEMO
    return ancient(start) if bundled else start or []


def bootstrap_start() -> list:
    """The checkpoint that the training of SyncNet starts from, if a bootstrap measured sync."""
    return [SYNC_MODEL] if BOOTSTRAPPED and not CONFIG.syncnet.pretrained else []


def syncnet_memory(wildcards, attempt) -> int:
    """MB for the training of SyncNet."""
    section = CONFIG.syncnet
    windows = section.clips_per_batch * section.windows_per_clip
    return training_memory(section, windows, 14, attempt)


def generator_memory(wildcards, attempt) -> int:
    """MB for the training of one variant."""
    section = generator_config(wildcards)
    return training_memory(section, section.batch_size, 250, attempt)


def second_judge() -> list:
    """The checkpoint of the second judge, where there is one."""
    steps = CONFIG.evaluate.second_judge_steps
    return [f"{RESULTS}/second_judge/checkpoint.pth"] if steps else []


def evaluation_weights() -> list:
    """The public SyncNet, where it lies in the models folder."""
    found = pretrained.find_weights(pretrained.LSE_WEIGHTS, CONFIG.models)
    return [str(found)] if found else []


def pretrained_files(wildcards) -> dict:
    """The weight files that a variant starts from; the name of a variant means its checkpoint.

    If that variant is not trained here, the training starts from random weights.
    """
    files = {}
    for key in ("pretrained", "disc_pretrained"):
        start = getattr(generator_config(wildcards), key)
        if start in VARIANTS:
            files[key] = f"{RESULTS}/{start}/checkpoint.pth"
        elif start and start not in ("wav2lip", "wav2lip_gan"):
            files[key] = start
    return files


def card_config(wildcards) -> dict:
    """What the training of a network computes with."""
    section = CONFIG.syncnet
    if wildcards.network != "syncnet":
        section = CONFIG.generator.variant(wildcards.network)
    return training_config(section) | {"image_size": CONFIG.image_size}


def card_weights(wildcards) -> dict:
    """The weight files that a network was made with: SyncNet's, those of its variant and of the
    variant that it starts from, and those that prepared the clips."""
    ours = {"syncnet.pretrained", "sync.model", "track.select", "detector"}
    variants = {wildcards.network}
    if wildcards.network != "syncnet":
        ours.add(licences.SYNC_LOSS)
        variants.add(CONFIG.generator.variant(wildcards.network).pretrained)
    return {
        key: path
        for key, path in WEIGHTS.items()
        if key in ours or (key.count(".") > 1 and key.split(".")[1] in variants)
    }


def card_syncnet(wildcards) -> list:
    """The SyncNet that a generator was trained with."""
    return [] if wildcards.network == "syncnet" else [SYNC_LOSS]
