"""Reading a config: a preset below the user's keys, defaults, one line for each mistake."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lipsync_core.config import Config
from lipsync_core.errors import LipsyncError

Schema = dict[str, Any]


def load(config: Mapping[str, Any], presets: Path) -> Config:
    """The whole config of a run.

    config: the user's own keys (config.yaml, --configfile, --config). presets: folder of
    <preset>.yaml. Raises LipsyncError with one line a mistake: the key, the value, what is allowed.
    """
    loaded = validate(with_preset(config, presets))
    check_sizes(loaded)
    check_corpora(loaded)
    return loaded


def with_preset(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A copy of `config` over the preset that it names: `<folder>/<preset>.yaml`.

    A key of `config` wins over the preset's; sections are merged key by key, lists are not. Without
    `preset` (or with an empty one) only the defaults lie below. Raises LipsyncError when there is
    no such preset.
    """
    config = _expand(config)
    name = config.get("preset") or ""
    if not name:
        return copy.deepcopy(config)
    presets = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in presets:
        hint = _nearest(str(name), presets)
        raise LipsyncError(f"config: preset: got {name!r}; {hint}allowed: {' | '.join(presets)}")
    preset = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    return _merged(_expand(preset), config)


def _expand(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with `check: word` as `check: {preset: word}`, so that its keys can be merged."""
    check = config.get("check")
    return {**config, "check": {"preset": check}} if isinstance(check, str) else dict(config)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(dict(below))
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def validate(config: Mapping[str, Any]) -> Config:
    """The config with its defaults. Raises LipsyncError with one line a mistake."""
    config = _expand(config)
    try:
        return Config.model_validate(config)
    except ValidationError as error:
        lines = dict.fromkeys(_explanations(error, config))
        raise LipsyncError("config: " + "\nconfig: ".join(lines)) from None


def check_sizes(config: Config) -> None:
    """Raise LipsyncError when the stored crops are smaller than the networks' frames."""
    size, needed = config.crop.size, config.image_size
    layouts = {corpus.layout for corpus in config.corpora} or {config.layout}
    # Clips of layout wav2lip come as crops of their own size.
    if size < needed and layouts != {"wav2lip"}:
        raise LipsyncError(
            f"config: crop.size: {size} is less than image_size: {needed}, so every crop would be "
            f"enlarged; set crop.size: {needed} (or more)"
        )


def check_corpora(config: Config) -> None:
    """Raise LipsyncError when two corpora have one name, or only some have a weight."""
    names = [corpus.name for corpus in config.corpora]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise LipsyncError(f"config: corpora: {twice[0]!r} is the name of two; rename one of them")
    without = [corpus.name for corpus in config.corpora if corpus.weight is None]
    if without and len(without) < len(names):
        raise LipsyncError(
            f"config: corpora: {without[0]!r} has no `weight`, and others have one; give one to "
            "all of them, or to none"
        )


def check_crop_mode(mode: str, detector: str) -> None:
    """Raise LipsyncError when `crop.mode` needs landmarks and the detector finds none."""
    if mode == "aligned" and detector == "s3fd":
        raise LipsyncError(
            "crop.mode aligned needs landmarks, and s3fd finds none; set `detector: centerface`, "
            "or `crop.mode: box` or `square`, in config/config.yaml"
        )


def _explanations(error: ValidationError, config: Mapping[str, Any]) -> Iterator[str]:
    schema = Config.model_json_schema()
    for mistake in error.errors():
        path = _path(mistake["loc"], config)
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
        place = place.lstrip(".")
        if mistake["type"] == "missing":
            yield f"{place}: the key {mistake['loc'][-1]!r} is missing"
        elif mistake["type"] == "extra_forbidden":
            keys = sorted(_at(schema, path[:-1])["properties"])
            hint = _nearest(str(path[-1]), keys)
            yield f"unknown key {place!r}; {hint}allowed: {', '.join(keys)}"
        else:
            yield f"{place}: got {_value(config, path)!r}; allowed: {allowed(_at(schema, path))}"


def _nearest(word: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(word, allowed, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def _path(location: tuple[int | str, ...], config: Any) -> tuple[int | str, ...]:
    """The part of an error's location that is in the config; the rest names branches of unions."""
    for depth, part in enumerate(location):
        inside = (isinstance(config, Mapping) and part in config) or (
            isinstance(config, list) and isinstance(part, int)
        )
        if not inside:
            return location[:depth]
        config = config[part]
    return location


def _value(config: Any, path: tuple[int | str, ...]) -> Any:
    for part in path:
        config = config[part]
    return config


def dereference(schema: Schema, part: Schema) -> Schema:
    """A part of a JSON schema, or the definition that it refers to."""
    while "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    return part


def _at(schema: Schema, path: tuple[int | str, ...]) -> Schema:
    """The schema of the value at `path`, references resolved."""
    found = dereference(schema, schema)
    for part in path:
        key = "items" if isinstance(part, int) else "properties"
        branches = [dereference(schema, branch) for branch in found.get("anyOf", [found])]
        found = next(branch for branch in branches if key in branch)
        found = found["items"] if isinstance(part, int) else found["properties"][part]
        found = dereference(schema, found)
    return found


_WORDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minItems": "entries: {} or more",
    "maxItems": "entries: {} or fewer",
    "minLength": "not empty",
    "pattern": "matching {}",
}


def allowed(schema: Schema) -> str:
    """The values that a JSON schema allows, in words."""
    if "enum" in schema or "const" in schema:
        return " | ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(allowed(part) for part in schema["anyOf"])
    parts = [str(schema.get("type", "any value")).replace("null", "nothing (null)")]
    parts += [words.format(schema[key]) for key, words in _WORDS.items() if key in schema]
    if "items" in schema and "$ref" not in schema["items"]:
        parts.append(f"of {allowed(schema['items'])}")
    return ", ".join(parts)
