"""Read and write checkpoints in the public format, without executing pickled code.

The format is that of the Wav2Lip family ({"state_dict", "optimizer", "global_step",
"global_epoch"}, keys with or without "module."); bare state dicts are read too. Network sizes are
inferred from tensor shapes.
"""

from __future__ import annotations

import logging
import pickle
import re
import shutil
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from lipsync_core.errors import LipsyncError
from lipsync_core.models.blocks import STRIDES_TO_GRID, steps_to_grid
from lipsync_core.runtime.files import PathLike, atomic_path

log = logging.getLogger(__name__)
Network = TypeVar("Network", bound=nn.Module)
State = dict[str, torch.Tensor]

WRAPPER_PREFIXES = re.compile(r"^(module\.|_orig_mod\.)+")  # DataParallel, torch.compile
MAX_NAMED_TENSORS = 3  # in a message
# Of a network's tensors; with fewer, training would start from mostly random weights.
MIN_MATCHING_FRACTION = 0.5
DAMAGE_ERRORS = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    struct.error,
    zipfile.BadZipFile,
)


def read_checkpoint(path: PathLike) -> Any:
    """Content of a torch file on the CPU: tensors and plain Python values, nothing else.

    Raises LipsyncError when the file is missing, damaged, a TorchScript archive, or holds pickled
    objects (which execute code when they are loaded).
    """
    path = Path(path)
    if not path.is_file():
        raise LipsyncError(
            f"{path}: no such checkpoint; check the path, or train or fetch it first"
        )
    try:
        if _is_torchscript(path):
            raise LipsyncError(
                f"{path}: is a TorchScript archive, not a checkpoint; where you trust it, run once "
                "torch.save(torch.jit.load(path).state_dict(), path)"
            )
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        with path.open("rb") as stream:
            looks_like_torch = stream.read(2).startswith((b"PK", b"\x80"))
        if not looks_like_torch:
            raise LipsyncError(
                f"{path}: is not a torch file (a web page or a git-lfs pointer saved under its "
                "name?); download it again"
            ) from error
        culprit = re.search(r"GLOBAL (\S+)", str(error))
        raise LipsyncError(
            f"{path}: refused, it holds pickled Python objects"
            f"{f' ({culprit[1]})' if culprit else ''}, which can run code; where you trust it, "
            "torch.load it once with weights_only=False and torch.save its state_dict alone"
        ) from error
    except PermissionError as error:
        raise LipsyncError(f"{path}: no permission to read it; change its rights") from error
    except DAMAGE_ERRORS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise LipsyncError(f"{path}: damaged or truncated ({reason}); copy it again") from error


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_state(path: PathLike) -> State:
    """The tensors of a checkpoint or bare state dict by name, without prefixes of wrappers.

    Raises LipsyncError like `read_checkpoint`, and when the file holds no state dict.
    """
    content = read_checkpoint(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(value, torch.Tensor) for value in content.values())
    ):
        raise LipsyncError(
            f"{path}: holds no state dict; expected tensors by name, alone or under 'state_dict'"
        )
    return {WRAPPER_PREFIXES.sub("", name): tensor for name, tensor in content.items()}


def load_weights(model: nn.Module, path: PathLike, strict: bool = True) -> list[str]:
    """Copy the tensors of the checkpoint at `path` into `model`.

    strict: every tensor must fit. Otherwise those whose name and shape match are loaded.
    Returns the names that did not match: tensors of the model that kept their values, then tensors
    of the file that have no place. Empty when strict.

    Raises LipsyncError when the file cannot be read (see `read_state`), when strict and it does not
    fit (names tensors, and the sizes that the file was made for), or when less than
    `MIN_MATCHING_FRACTION` of the network's tensors match: nearly all do when only the image size
    differs.
    """
    return _copy_matching(read_state(path), model, path, strict)


def _copy_matching(state: State, model: nn.Module, path: PathLike, strict: bool) -> list[str]:
    """`load_weights` from a state dict."""
    own = model.state_dict()
    fitting = {
        name: tensor
        for name, tensor in state.items()
        if name in own and own[name].shape == tensor.shape
    }
    rest = _missing(own, fitting) + [name for name in state if name not in own]
    if (strict and rest) or len(fitting) < MIN_MATCHING_FRACTION * len(own):
        raise LipsyncError(_mismatch_message(model, path, state, rest))
    model.load_state_dict(fitting, strict=False)
    return rest


def _missing(wanted: State, given: State) -> list[str]:
    """Names in `wanted` but not in `given`.

    The counters of batch norm are ignored: files from before PyTorch 0.4.1 have none, and they are
    not used here.
    """
    return [
        name for name in wanted if name not in given and not name.endswith(".num_batches_tracked")
    ]


def _mismatch_message(model: nn.Module, path: PathLike, state: State, rest: list[str]) -> str:
    """An error message: how the file and the network differ, and the remedy."""
    own = model.state_dict()

    def shape(tensors: State, name: str) -> str:
        return "x".join(map(str, tensors[name].shape)) if name in tensors else "none"

    shown = ", ".join(
        f"{n} (file {shape(state, n)}, network {shape(own, n)})" for n in rest[:MAX_NAMED_TENSORS]
    )
    message = (
        f"{path}: does not fit {_describe(type(model), vars(model))}; {len(rest)} tensors differ, "
        f"first {shown}"
    )
    try:
        sizes = infer_sizes(state, type(model)) if hasattr(model, "width") else None
    except LipsyncError:
        sizes = None
    if sizes is None:
        return f"{message}; give a checkpoint of this network"
    if all(vars(model)[key] == value for key, value in sizes.items()):
        return f"{message}; save the network's own tensors alone"
    return f"{message}; the file is a {_describe(type(model), sizes)}: set these sizes"


def _describe(cls: type[nn.Module], sizes: Mapping[str, Any]) -> str:
    known = [f"{key} {sizes[key]:g}" for key in ("width", "image_size") if key in sizes]
    return f"{cls.__name__} of {', '.join(known)}" if known else cls.__name__


def build_from(path: PathLike, cls: type[Network]) -> Network:
    """A network of class `cls` with the sizes and the weights of the checkpoint, in eval mode.

    Raises LipsyncError when the file cannot be read or is no checkpoint of `cls` at any size.
    """
    state = read_state(path)
    try:
        model = cls(**infer_sizes(state, cls))
    except LipsyncError as error:
        raise LipsyncError(f"{path}: {error}; give a checkpoint of {cls.__name__}") from error
    _copy_matching(state, model, path, strict=True)
    return model.eval()


def infer_sizes(state: State, cls: type[nn.Module]) -> dict[str, Any]:
    """Constructor arguments `width` and `image_size` of the `cls` that `state` was saved from.

    Several widths can round to the same channels; one that reproduces every shape is returned
    (exactly the original one when it is a multiple of 1 / 64). Empty for a class of one size.
    Raises LipsyncError when no size of `cls` has these tensors.
    """
    sizes = {}
    with torch.device("meta"):
        public = cls()
        if hasattr(public, "width"):
            sizes = {"width": _infer_width(state, public), "image_size": _infer_image_size(state)}
        candidate = cls(**sizes).state_dict()
    missing = _missing(candidate, state)
    if missing:
        raise LipsyncError(
            f"lacks {len(missing)} of the {len(candidate)} tensors of {_describe(cls, sizes)}, "
            f"first {missing[0]}"
        )
    for name, tensor in candidate.items():
        if name in state and state[name].shape != tensor.shape:
            raise LipsyncError(
                f"{name} is {tuple(state[name].shape)}, in {_describe(cls, sizes)} it would be "
                f"{tuple(tensor.shape)}"
            )
    return sizes


def _infer_image_size(state: State) -> int:
    """The image size whose steps to the 96 grid have the kernels in `state`."""
    kernels = []
    while (name := f"face_downscale_blocks.{len(kernels)}.0.conv_block.0.weight") in state:
        kernels.append(state[name].shape[-1])
    for image_size in STRIDES_TO_GRID:
        if [step.kernel for step in steps_to_grid(image_size)] == kernels:
            return image_size
    raise LipsyncError(f"no image_size has downscale blocks with kernels {kernels}")


def _infer_width(state: State, public: nn.Module) -> float:
    """The width that rounds every hidden layer of `public` to the channels in `state`."""
    channels = [  # of the public network, of the file
        (len(tensor), len(state[name]))
        for name, tensor in public.state_dict().items()
        if name.endswith("conv_block.0.bias") and name in state and state[name].ndim == 1
    ]
    if not channels:
        raise LipsyncError(f"holds no layer of {type(public).__name__}")
    # `scaled` rounds to a multiple of 8 and stops at 8 or 16: each layer leaves an interval.
    low = max((have - 4) / full if have > 16 else 0.0 for full, have in channels)
    high = min((have + 4) / full for full, have in channels)
    widest, _ = max(channels)
    ratio = min(have for full, have in channels if full == widest) / widest
    return ratio if low <= ratio < high else (low + high) / 2


def save_public(
    path: PathLike,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    step: int = 0,
) -> None:
    """Write `model` to `path` atomically in the public format; equal content gives equal bytes.

    optimizer: of the model's parameters in their order, and perhaps of others behind them, whose
        state is left out: the public code's optimizer has none.
    """
    content = {
        "state_dict": {
            WRAPPER_PREFIXES.sub("", name): tensor.detach().cpu()
            for name, tensor in model.state_dict().items()
        },
        "optimizer": _state_of(optimizer, model) if optimizer is not None else None,
        "global_step": step,
        "global_epoch": 0,  # this project counts steps only
    }
    write_tensors(path, content)


def write_tensors(path: PathLike, content: Mapping[str, Any]) -> None:
    """`torch.save` to `path`, atomically; equal content gives equal bytes.

    Raises LipsyncError when there is no room: torch's own message is "unexpected pos".
    """
    try:
        # Through a stream: given a path, torch writes the (temporary) name into the file.
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            torch.save(content, stream)
    except (RuntimeError, OSError) as error:
        free = shutil.disk_usage(Path(path).parent).free / 1e6
        reason = str(error).partition("\n")[0]
        raise LipsyncError(
            f"{path}: cannot be written ({reason}). Is the disk full? {free:.0f} MB are free. What "
            "the file held before is untouched: make room and run again"
        ) from error


def _state_of(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Any]:
    """The state of the optimizer as if it had the parameters of `model` only."""
    count, state = sum(1 for _ in model.parameters()), optimizer.state_dict()
    groups = [
        group | {"params": [place for place in group["params"] if place < count]}
        for group in state["param_groups"]
    ]
    return {
        "state": {place: value for place, value in state["state"].items() if place < count},
        "param_groups": [group for group in groups if group["params"]],
    }


def load_pretrained(model: nn.Module, path: str | Path | None) -> None:
    """Load the weights at `path`, if any, into `model`; log the tensors that do not fit."""
    if path is None:
        return
    misfits = load_weights(model, path, strict=False)
    log.info("starting from %s; tensors that do not fit: %s", path, ", ".join(misfits) or "none")
