"""The real service with the fake world model behind it, for tests of what calls it."""

from __future__ import annotations

from pathlib import Path

from servers import ServerProcess

PROFILE = """
description = "probability of the claimed class, by whichever model offers it"
version = "1"
tasks = ["perturbation.de"]

[extract]
grammar = "strict"
think = "required"

[compose]
operator = "mean"
floor = 0.0
range = [0.0, 1.0]
neutral = 0.375

[[component]]
name = "perturbation.de"
verifier = "perturbation"
model = "*"
score = "prob"
"""


def write_config(folder: Path) -> Path:
    """A settings file with the fake model ``screen`` and the profile ``soft``."""
    profiles = folder / "profiles"
    profiles.mkdir()
    (profiles / "soft.toml").write_text(PROFILE)
    config = folder / "sv.toml"
    config.write_text(
        f"""
[starter]
enabled = false
[profiles]
folder = "{profiles}"
[[models]]
family = "fake"
name = "screen"
options = {{contexts = "k562", unknown = "NO"}}
"""
    )
    return config


class RunningService:
    """HTTP and gRPC on free ports of the loopback until ``stop``."""

    def __init__(self, config: Path) -> None:
        self._server = ServerProcess(config.parent, "", "--config", str(config))
        self.http = self.grpc = ""

    def start(self) -> RunningService:
        self._server.start()
        self.http, self.grpc = self._server.url, self._server.grpc_url
        return self

    @property
    def pid(self) -> int:
        """Of the process that serves."""
        return self._server.pid

    def stop(self) -> None:
        self._server.stop()
