"""Files generated from the models of `lipsync_core.config`: the JSON schema and docs/config.md.

`python -m lipsync_core.runtime.config_reference` writes both into the repository.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lipsync_core.config import Config
from lipsync_core.runtime.config_file import Schema, allowed, dereference
from lipsync_core.runtime.files import write_text

ROOT = Path(__file__).parents[2]
SCHEMA, PAGE = "workflow/schemas/config.schema.yaml", "docs/config.md"
GENERATED = (
    "Generated from lipsync_core/config/ by `python -m lipsync_core.runtime.config_reference`"
)


def json_schema() -> Schema:
    """The JSON schema (draft 2020-12) of a config file."""
    schema = Config.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | _single_lines(schema)


def _single_lines(value: Any) -> Any:
    """The schema without titles, with each description on one line and each default once."""
    if isinstance(value, list):
        return [_single_lines(item) for item in value]
    if isinstance(value, dict):
        # Titles repeat the keys, the default of a section those of its keys.
        dropped = {"title", "default"} if "$ref" in value else {"title"}
        return {key: _single_lines(item) for key, item in value.items() if key not in dropped}
    return " ".join(value.split()) if isinstance(value, str) and "\n" in value else value


def schema_text() -> str:
    """The JSON schema (draft 2020-12) as YAML, for editors that validate while one types."""
    schema = json_schema()
    # One word is short for {preset: word}, see `config_file`.
    check = schema["properties"]["check"]
    words = schema["$defs"]["CheckConfig"]["properties"]["preset"]["enum"]
    check["anyOf"] = [{"enum": list(words)}, {"$ref": check.pop("$ref")}]
    return f"# {GENERATED}.\n" + yaml.safe_dump(schema, sort_keys=False, width=110)


def page_text() -> str:
    """The reference of all config keys as Markdown, one table a section."""
    schema = json_schema()
    sections: list[tuple[str, Schema]] = []
    lines = [
        "# Config",
        "",
        f"<!-- {GENERATED}. -->",
        "",
        "Every key with its default. A key of `config/config.yaml`, of a `--configfile` or of "
        "`--config` wins over the preset, the preset over these defaults. A wrong key, type or "
        "value stops the run before the first job, with one line that states what is allowed.",
        "",
        *_table(schema, schema, "", sections),
    ]
    for name, section in sections:
        lines += ["", f"## {name}", "", section["description"], ""]
        lines += _table(schema, section, f"{name}.", sections)
    return "\n".join(lines) + "\n"


def _table(
    schema: Schema, section: Schema, prefix: str, sections: list[tuple[str, Schema]]
) -> Iterator[str]:
    """The rows of a section's keys; the sections within it are appended to `sections`."""
    yield "| key | default | allowed | |"
    yield "|---|---|---|---|"
    for key, part in section["properties"].items():
        value = dereference(schema, part)
        name, described = f"{prefix}{key}", _described(part, value)
        if part.get("$ref", "").endswith("/VariantOverrides"):
            yield f"| `{key}` | | keys of `generator` | {described} |"
        elif "properties" in value:
            sections.append((name, value))
            yield f"| `{key}` | | [section](#{name.replace('.', '')}) | {described} |"
        elif "$ref" in value.get("items", {}):
            sections.append((f"{name}[]", dereference(schema, value["items"])))
            yield f"| `{key}` | one | [list of sections](#{key}) | {described} |"
        else:
            default, values = json.dumps(part.get("default")), allowed(part).replace("|", "/")
            yield f"| `{key}` | `{default}` | {values} | {described} |"


def _described(part: Schema, value: Schema) -> str:
    """The description of a key, or that of the section that it names."""
    return part.get("description", value.get("description", "")).replace("|", "\\|")


def main() -> None:
    """Write both files into the repository."""
    write_text(ROOT / SCHEMA, schema_text())
    write_text(ROOT / PAGE, page_text())


if __name__ == "__main__":
    main()
