"""From profile files to merged TOML documents, and from a fault in one to file and line.

Shipped profiles lie beside the package; a user's folder adds to them and may extend them by name,
but never replaces one: a digest that trainers pinned must keep its meaning.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from service.rewards.errors import ProfileFault, nearest
from service.rewards.recipe import NAME, Fault

_DECISIVE: Final = frozenset({"tasks", "extract", "compose", "component"})
"""The keys of a file that decide what its profile earns."""
SHIPPED: Final = Path(__file__).parent.parent / "profiles"


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it stands."""

    name: str
    path: Path
    text: str
    raw: Mapping[str, Any]

    def fault(self, fault: Fault) -> ProfileFault:
        """The fault with its file, its table and, where the key stands here, its line."""
        line = self._line(fault)
        where = f"{self.path}:{line}" if line else f"{self.path}"
        table = fault.table
        if fault.index is not None:
            name = self._component(fault.index) if table == "component" else ""
            table = f"{table} {name!r}" if name else f"{table} {fault.index + 1}"
        inside = f" [{table}]" if table else ""
        return ProfileFault(f"{where}:{inside} {fault.message}")

    def _component(self, index: int) -> str:
        entries = self.raw.get("component", [])
        if isinstance(entries, list) and index < len(entries) and isinstance(entries[index], dict):
            return str(entries[index].get("name", ""))
        return ""

    def _line(self, fault: Fault) -> int | None:
        if "extends" in self.raw and fault.table == "component":
            return None  # positions are those of the merged document
        header = rf"\[\[?\s*{re.escape(fault.table)}\s*\]" if fault.table else None
        seen, inside, first = -1, header is None, None
        for number, line in enumerate(self.text.splitlines(), 1):
            stripped = line.strip()
            if stripped.startswith("["):
                matches = header is not None and re.match(header, stripped) is not None
                seen += matches
                inside = matches and seen == (fault.index or 0)
                if inside:
                    first = number
            elif inside and fault.key and re.match(rf"[\"']?{re.escape(fault.key)}\b", stripped):
                return number
        return first


def read_sources(folder: Path | None) -> dict[str, Source]:
    """Every profile file by name, shipped ones first.

    Raises:
        ProfileFault: no such folder, a bad name, a shipped name, or text that is not TOML.
    """
    sources = {path.stem: _read(path) for path in sorted(SHIPPED.glob("*.toml"))}
    if folder is None:
        return sources
    if not folder.is_dir():
        raise ProfileFault(f"{folder}: no such folder; profiles are *.toml files in it")
    for path in sorted(folder.glob("*.toml")):
        if path.stem in sources:
            raise ProfileFault(
                f"{path}: {path.stem!r} is a shipped profile; name the file otherwise and begin "
                f'with extends = "{path.stem}" to change it'
            )
        sources[path.stem] = _read(path)
    return sources


def _read(path: Path) -> Source:
    if not NAME.fullmatch(path.stem):
        raise ProfileFault(
            f"{path}: {path.stem!r} cannot name a profile; use lower-case letters, digits and . _ "
            "+ - (at most 64)"
        )
    try:
        text = path.read_text("utf-8")
        return Source(path.stem, path, text, tomllib.loads(text))
    except UnicodeDecodeError as error:
        raise ProfileFault(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise ProfileFault(f"{path}: cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ProfileFault(f"{path}: not TOML: {error}") from None


def merged(name: str, sources: Mapping[str, Source]) -> dict[str, Any]:
    """A file's document on top of what it extends.

    Raises:
        ProfileFault: an unknown base, or a circle.
    """
    chain: list[Source] = []
    at: str | None = name
    while at is not None:
        source = sources[at]
        if source in chain:
            circle = " → ".join(s.name for s in (*chain, source))
            raise ProfileFault(f"{source.path}: extends goes in a circle: {circle}")
        chain.append(source)
        base = source.raw.get("extends")
        if base is not None and (not isinstance(base, str) or base not in sources):
            others = [known for known in sources if known != at]
            fault = Fault(
                f"extends: no profile {base!r}{nearest(str(base), others)}", key="extends"
            )
            raise source.fault(fault)
        at = base
    document: dict[str, Any] = {}
    for source in reversed(chain):
        document = _overlay(document, source)
    return document


def _overlay(base: dict[str, Any], source: Source) -> dict[str, Any]:
    made = dict(base)
    if "example" in base and _DECISIVE & source.raw.keys():  # what the base earns is not known here
        made["example"] = [{**entry, "reward": None} for entry in base["example"]]
    for key, value in source.raw.items():
        if key == "extends":
            continue
        if key in ("extract", "compose") and isinstance(value, dict):
            made[key] = {**made.get(key, {}), **value}
        elif key == "component" and isinstance(value, list) and base:
            made[key] = _overlay_components(made.get(key, []), value, source)
        else:
            made[key] = value
    return made


def _overlay_components(base: list[Any], own: list[Any], source: Source) -> list[Any]:
    made = {entry.get("name"): entry for entry in base}
    for index, entry in enumerate(own):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise source.fault(Fault("name: missing, or not a string", "component", index, "name"))
        name = entry["name"]
        if entry.get("remove") is True:
            if name not in made:
                hint = nearest(name, [str(known) for known in made])
                message = f"remove: the base has no component {name!r}{hint}"
                raise source.fault(Fault(message, "component", index, "remove"))
            del made[name]
        else:
            made[name] = {**made.get(name, {}), **entry}
    return list(made.values())
