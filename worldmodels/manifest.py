"""What a checkpoint folder says of itself: ``manifest.toml``, read strictly and written by hand.

Python reads TOML but does not write it; ``to_toml`` writes the small part that a manifest needs.
Limits: tables hold strings, numbers, booleans and flat lists of them, nothing nested.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from worldmodels.core import RELATIONS, ModelFault, canonical_context

SCHEMA: Final = 1
FILE: Final = "manifest.toml"

Scalar = str | int | float | bool
Value = Scalar | list[str] | list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of ``manifest.toml``; ``files`` is filled in by ``checkpoints.write``."""

    name: str
    family: str
    version: str
    relations: tuple[str, ...]
    contexts: tuple[str, ...] = ()
    licence: str = "unknown"
    training: str = "unknown"
    calibration: Mapping[str, Value] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Value] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """File name in the folder → ``sha256:…``."""


_TEXTS: Final = ("name", "family", "version", "licence", "training")
_LISTS: Final = ("relations", "contexts")
_TABLES: Final = ("calibration", "metrics", "options", "files")
_KNOWN: Final = frozenset(("schema", *_TEXTS, *_LISTS, *_TABLES))


def to_toml(manifest: Manifest) -> str:
    """The manifest as TOML text.

    Raises:
        ModelFault: a value that TOML (or this small writer) cannot hold.
    """
    content = dataclasses.asdict(manifest)
    lines = [f"schema = {SCHEMA}"]
    lines += [f"{key} = {_toml(content[key])}" for key in (*_TEXTS, *_LISTS)]
    for table in _TABLES:
        lines += ["", f"[{table}]"]
        lines += [f"{_toml(str(key))} = {_toml(value)}" for key, value in content[table].items()]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):  # float() first: numpy's own floats print their type
        return repr(float(value))
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= mark <= "\udfff" for mark in value):
            raise ModelFault(f"manifest: {value!r} holds half a character and cannot be stored")
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(part) for part in value)}]"
    raise ModelFault(f"manifest: cannot store {value!r} of type {type(value).__name__}")


def check_name(name: str) -> None:
    """Refuse a model's name that addresses and logs cannot show as it is.

    Raises:
        ModelFault: empty, blanks around it, a slash, or a character that does not print.
    """
    if not name or name != name.strip() or "/" in name or not name.isprintable():
        raise ModelFault(
            f"{name!r} is no name for a model: give one of printing characters, without '/' and "
            "without blanks around it (--name)"
        )


def read(path: Path) -> tuple[Manifest, bytes]:
    """Parse ``manifest.toml`` strictly; the bytes are what the checkpoint's digest is taken of.

    Raises:
        ModelFault: unreadable, a newer schema, an unknown or missing key, a value of a wrong type.
    """
    try:
        data = path.read_bytes()
        content: dict[str, Any] = tomllib.loads(data.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ModelFault(f"{path}: not a readable manifest ({error}); build the model anew") from (
            error
        )
    schema = content.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        raise ModelFault(
            f"{path}: schema is {schema!r}, this version reads {SCHEMA}; "
            "upgrade soft-verifier or build the model anew"
        )
    if unknown := sorted(set(content) - _KNOWN):
        raise ModelFault(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_KNOWN))}")
    if missing := sorted({*_TEXTS, *_LISTS, "files"} - set(content)):
        raise ModelFault(f"{path}: key {missing[0]!r} is missing; build the model anew")
    _check(path, content)
    values: dict[str, Any] = {key: content[key] for key in _TEXTS}
    values |= {key: tuple(content[key]) for key in _LISTS}
    values |= {key: content.get(key, {}) for key in _TABLES}
    return Manifest(**values), data


def _check(path: Path, content: Mapping[str, Any]) -> None:
    for key in _TEXTS:
        if not isinstance(content[key], str) or not content[key]:
            raise ModelFault(f"{path}: {key} must be text, found {content[key]!r}")
    try:
        check_name(content["name"])
    except ModelFault as fault:
        raise ModelFault(f"{path}: {fault}") from fault
    for key in _LISTS:
        value = content[key]
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise ModelFault(f"{path}: {key} must be a list of texts, found {value!r}")
    for key in _TABLES:
        if not isinstance(content.get(key, {}), dict):
            raise ModelFault(f"{path}: [{key}] must be a table, found {content[key]!r}")
    for metric, figure in content.get("metrics", {}).items():
        if not isinstance(figure, int | float) or isinstance(figure, bool):
            raise ModelFault(f"{path}: metrics.{metric} must be a number, found {figure!r}")
    if strange := [name for name in content["relations"] if name not in RELATIONS]:
        raise ModelFault(
            f"{path}: unknown relation {strange[0]!r}; known: {', '.join(sorted(RELATIONS))}"
        )
    if odd := [name for name in content["contexts"] if name != canonical_context(name)]:
        raise ModelFault(
            f"{path}: context {odd[0]!r} is not canonical, expected {canonical_context(odd[0])!r}"
        )
    for name, digest in content["files"].items():
        if not isinstance(digest, str) or not digest.startswith("sha256:"):
            raise ModelFault(f"{path}: files.{name} must be 'sha256:…', found {digest!r}")
