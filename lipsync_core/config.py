"""The config: a preset below the user's own keys, defaults filled in, mistakes in one line each."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError

from lipsync_core.errors import LipsyncError


def load_schema(path: Path) -> dict[str, Any]:
    """A JSON schema written as YAML."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def with_preset(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A copy of `config` over the preset that it names: `<folder>/<preset>.yaml`.

    A key of `config` wins over the preset's; sections are merged key by key, lists are not. Without
    `preset` (or with an empty one) only the schema's defaults lie below. Raises LipsyncError when
    there is no such preset.
    """
    name = config.get("preset") or ""
    if not name:
        return copy.deepcopy(dict(config))
    presets = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in presets:
        near = difflib.get_close_matches(str(name), presets, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise LipsyncError(f"config: preset: got {name!r}; {hint}allowed: {' | '.join(presets)}")
    preset = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    return _merged(preset, config)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(dict(below))
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def check_sizes(config: Mapping[str, Any]) -> None:
    """Raise LipsyncError when the stored crops are smaller than the networks' pictures."""
    size, needed = config["crop"]["size"], config["image_size"]
    # Clips of layout wav2lip come as crops of their own size.
    if size < needed and config["layout"] != "wav2lip":
        raise LipsyncError(
            f"config: crop.size: {size} is less than image_size: {needed}, so every crop would be "
            f"enlarged; set crop.size: {needed} (or more)"
        )


def complete(config: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `config` with the schema's defaults filled in, nested ones too.

    A default stands beside its key (`default`) or, where sections share their keys but not their
    defaults, in the section (`x-defaults`).

    Raises LipsyncError with one line a mistake: the key, the value, what is allowed.
    """
    filled = _with_defaults(copy.deepcopy(dict(config)), schema)
    errors = sorted(
        Draft202012Validator(schema).iter_errors(filled), key=lambda error: list(error.path)
    )
    lines = [line for error in errors for line in _explain(error)]
    if lines:
        raise LipsyncError("config: " + "\nconfig: ".join(lines))
    return filled


def _with_defaults(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        for key, default in schema.get("x-defaults", {}).items():
            value.setdefault(key, copy.deepcopy(default))
        for key, part in schema.get("properties", {}).items():
            if key not in value and "default" in part:
                value[key] = copy.deepcopy(part["default"])
            if key in value:
                value[key] = _with_defaults(value[key], part)
    elif isinstance(value, list) and "items" in schema:
        value = [_with_defaults(item, schema["items"]) for item in value]
    return value


def _explain(error: ValidationError) -> Iterator[str]:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.path)
    place = place.lstrip(".")
    if error.validator == "additionalProperties":
        allowed = sorted(error.schema.get("properties", {}))
        for key in sorted(set(error.instance) - set(allowed)):
            near = difflib.get_close_matches(str(key), allowed, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            where = f"{place}.{key}" if place else key
            yield f"unknown key {where!r}; {hint}allowed: {', '.join(allowed)}"
        return
    if error.validator == "required":
        yield f"{place or 'top level'}: {error.message}; see config/config.yaml"
        return
    yield f"{place}: got {error.instance!r}; allowed: {_allowed(error.schema)}"


_WORDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minItems": "{} entries or more",
    "maxItems": "{} entries or fewer",
    "minLength": "{} characters or more",
    "pattern": "matching {}",
}


def _allowed(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_allowed(part) for part in schema["anyOf"])
    parts = [str(schema.get("type", "any value")).replace("null", "nothing (null)")]
    parts += [words.format(schema[key]) for key, words in _WORDS.items() if key in schema]
    if "items" in schema:
        parts.append(f"of {_allowed(schema['items'])}")
    return ", ".join(parts)


def check_crop_mode(mode: str, detector: str) -> None:
    """Raise LipsyncError when `crop.mode` needs landmarks and the detector finds none."""
    if mode == "aligned" and detector == "s3fd":
        raise LipsyncError(
            "crop.mode aligned needs landmarks, and s3fd finds none; set `detector: centerface`, "
            "or `crop.mode: box` or `square`, in config/config.yaml"
        )
