"""A server that asks for keys, and the keys by what they may do."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

from served import SETTINGS, write_profiles
from servers import ServerProcess
from service.security import key_file
from service.security.keys import mint

KEYED = """
[security]
keys = "keys.toml"
[connections]
header_s = 1
body_s = 2
max_header_kb = 8
"""


class KeyedServer(ServerProcess):
    """One that may speak TLS."""

    def _read_banner(self) -> None:
        super()._read_banner()
        if found := re.search(r"HTTP +https://[^:]+:(\d+)", self.output):
            self.http_port = int(found[1])


def keyed_server(folder: Path, more: str = "") -> tuple[ServerProcess, dict[str, str]]:
    """A server, not started, and keys: one for each scope, and ``old``, ``few`` and ``slow``."""
    write_profiles(folder)
    keys = {name: add(folder, name, [name]) for name in ("score", "predict", "metrics", "admin")}
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    for name, limits in (
        ("old", {"expires": yesterday}),
        ("few", {"quota": 5}),
        ("slow", {"rate": 2.0}),
    ):
        keys[name] = add(folder, name, ["score", "predict"], **limits)
    settings = SETTINGS.replace('run = "thread"', 'run = "inline"')
    return KeyedServer(folder, settings + (more or KEYED)), keys


def add(folder: Path, name: str, scopes: list[str], **limits: object) -> str:
    """A new key in the file of a server."""
    spelt, key = mint(name, scopes, **limits)  # type: ignore[arg-type]
    key_file.add(folder / "keys.toml", key)
    return spelt
