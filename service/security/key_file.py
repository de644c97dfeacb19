"""The file of keys: TOML, one table for each, digests only.

Written whole beside itself and put in place, under a lock, so that readers never see half and two
writers never lose a key. Limits: comments that someone adds are lost when a key is added.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import fcntl
import json
import math
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from service.errors import StartupFault
from service.security.keys import SCOPES, Key, Keyring

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_FIELDS: Final = ("id", "scopes", "salt", "digest", "created", "expires", "quota", "rate")
_HEAD: Final = """\
# API keys of a soft-verifier server; written by `soft-verifier keys`, read by `serve`.
# Digests only: a lost key cannot be read from here; make a new one and revoke this.
"""


def read(path: Path) -> list[Key]:
    """The keys of a file.

    Raises:
        StartupFault: no such file, or not what this module writes; says which key and field.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StartupFault(
            f"security.keys: {path} does not exist; make it with `soft-verifier keys create NAME "
            f"--scope score --file {path}`"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise StartupFault(f"security.keys: {path} cannot be read: {error}") from None
    tables = found.get("keys", {})
    if set(found) - {"keys"} or not isinstance(tables, dict):
        raise StartupFault(f"security.keys: {path}: expected tables [keys.NAME] and nothing else")
    keys = [_key(path, name, table) for name, table in tables.items()]
    if len({key.id for key in keys}) < len(keys):
        raise StartupFault(f"security.keys: {path}: two keys have one id; revoke one of them")
    return keys


def ring(path: Path) -> Keyring:
    """The keys of a file, to be asked; raises as ``read``."""
    return Keyring(read(path))


def _key(path: Path, name: str, table: object) -> Key:
    """One table as a key."""
    try:
        if not isinstance(table, dict):
            raise ValueError("expected a table")
        if unknown := sorted(set(table) - set(_FIELDS)):
            raise ValueError(f"unknown field {unknown[0]!r}")
        return Key(
            id=_matching(table, "id", r"[0-9a-f]{12}"),
            name=name,
            scopes=_scopes(table),
            salt=base64.b64decode(_matching(table, "salt", r"[A-Za-z0-9+/]{22}=="), validate=True),
            digest=bytes.fromhex(_matching(table, "digest", r"sha256:[0-9a-f]{64}")[7:]),
            created=_moment(table, "created"),
            expires=_moment(table, "expires") if "expires" in table else None,
            quota=_quota(table),
            rate=_rate(table),
        )
    except ValueError as error:
        raise StartupFault(
            f"security.keys: {path}: key {name!r}: {error}; make it anew with soft-verifier keys"
        ) from None


def _matching(table: dict[str, Any], field: str, pattern: str) -> str:
    value = table.get(field)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"{field} is missing or not what is written there")
    return value


def _scopes(table: dict[str, Any]) -> frozenset[str]:
    value = table.get("scopes")
    if not isinstance(value, list) or not value or not all(scope in SCOPES for scope in value):
        raise ValueError(f"scopes: expected some of {', '.join(SCOPES)}, found {value!r}")
    return frozenset(value)


def _moment(table: dict[str, Any], field: str) -> datetime.datetime:
    value = table.get(field)
    if not isinstance(value, datetime.datetime) or value.tzinfo is None:
        raise ValueError(f"{field}: expected a moment with its zone (2027-01-31T00:00:00Z)")
    return value


def _quota(table: dict[str, Any]) -> int | None:
    value = table.get("quota")
    if value is not None and (type(value) is not int or value < 1):
        raise ValueError(f"quota: expected items a day, found {value!r}")
    return value


def _rate(table: dict[str, Any]) -> float | None:
    value = table.get("rate")
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError(f"rate: expected items a second, found {value!r}")
    return float(value)


def add(path: Path, key: Key) -> None:
    """Add a key.

    Raises:
        StartupFault: a name that is taken or cannot be one, or the file cannot be written.
    """
    if not NAME.fullmatch(key.name):
        raise StartupFault(
            f"{key.name!r} cannot name a key: letters, digits and . _ @ - only, 64 at most"
        )
    with _locked(path):
        keys = read(path) if path.exists() else []
        if any(one.name == key.name for one in keys):
            raise StartupFault(f"{path} has a key {key.name!r}; revoke it, or choose another name")
        _write(path, [*keys, key])


def remove(path: Path, name: str) -> None:
    """Take a key out.

    Raises:
        StartupFault: there is none of that name; lists them.
    """
    with _locked(path):
        keys = read(path)
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            known = ", ".join(key.name for key in keys) or "none"
            raise StartupFault(f"{path} has no key {name!r}; it has: {known}")
        _write(path, left)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among writers."""
    try:
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise StartupFault(f"{path} cannot be written: {error}") from None


def _write(path: Path, keys: Iterable[Key]) -> None:
    text = _HEAD + "".join(_table(key) for key in keys)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _table(key: Key) -> str:
    lines = [
        f"\n[keys.{json.dumps(key.name)}]",
        f'id = "{key.id}"',
        f"scopes = {json.dumps([scope for scope in SCOPES if scope in key.scopes])}",
        f'salt = "{base64.b64encode(key.salt).decode()}"',
        f'digest = "sha256:{key.digest.hex()}"',
        f"created = {_spelt(key.created)}",
    ]
    if key.expires is not None:
        lines.append(f"expires = {_spelt(key.expires)}")
    if key.quota is not None:
        lines.append(f"quota = {key.quota}")
    if key.rate is not None:
        lines.append(f"rate = {key.rate!r}")
    return "\n".join(lines) + "\n"


def _spelt(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
