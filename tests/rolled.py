"""A server whose model has a new version whenever a test wants one."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from processes import LINE, RELATION, answers, point, version
from servers import ServerProcess, post

SETTINGS = """
[starter]
enabled = false
[work]
warm = false
[admin]
enabled = true
[rolling]
grace_s = {grace}
[[models]]
path = "tiny"
run = "{run}"
[profiles.models]
"rbio-mlp" = "tiny"
"""


class Rolled:
    """A server, and the versions of its model: each test rolls on to one that is new."""

    def __init__(self, folder: Path, workers: int, run: str, grace: float = 60):
        self._made = itertools.count()
        self._folder = folder
        self.now = self._version()
        point(folder / "tiny", self.now.folder)
        text = SETTINGS.format(run=run, grace=grace)
        self.server = ServerProcess(folder, text, "--workers", str(workers)).start()
        self.url = self.server.url

    def _version(self) -> Version:
        number = next(self._made)
        folder = version(self._folder / f"v{number}", number)
        return Version(folder, *answers(folder))

    def turn(self) -> Version:
        """A new version in the model's folder."""
        made = self._version()
        point(self._folder / "tiny", made.folder)
        return made

    def reload(self, name: str = "tiny") -> httpx.Response:
        """Ask for it to be served."""
        answer = post(f"{self.url}/v1/models/{name}/reload", timeout=60)
        if answer.status_code == 200:
            link = (self._folder / "tiny").resolve()
            self.now = Version(link, *answers(link))
        return answer


class Version(NamedTuple):
    """One of a model."""

    folder: Path
    digest: str
    figures: dict[tuple[str, str], float]


def asked(pairs: list[tuple[str, str]], model: str = "tiny") -> dict[str, Any]:
    subjects, objects = ([pair[i] for pair in pairs] for i in (0, 1))
    return {
        "model": model,
        "relation": RELATION,
        "context": LINE,
        "subjects": subjects,
        "objects": objects,
    }
