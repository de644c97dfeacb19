"""The compose stack under test: its variables, its containers, and how it is asked."""

from __future__ import annotations

import json
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import Engine, Failed

PROJECT = "soft-verifier-check"
MORE = """
[cache]
redis_mode = "always"
breaker_s = 0.5
[[models]]
family = "fake"
name = "slow"
options = { delay_ms = "1500" }
"""
"""Beside the stack's own settings: every verdict is offered to Redis, a model takes its time."""


class Stack:
    """Services of ``compose.yaml`` on free ports of the loopback.

    Args:
        engine: what runs them.
        repository: where ``deploy/compose.yaml`` lies.
        images: variable of the compose file → image.
        work: folder for what is written.
    """

    def __init__(self, engine: Engine, repository: Path, images: dict[str, str], work: Path):
        self._engine = engine
        self._file = repository / "deploy" / "compose.yaml"
        settings = work / "soft-verifier.toml"
        shipped = self._file.with_name("soft-verifier.toml").read_text(encoding="utf-8")
        settings.write_text(shipped + MORE, encoding="utf-8")
        settings.chmod(0o644)
        names = ("HTTP_PORT", "GRPC_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")
        self.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self.services = ["redis", "prometheus", "server"]
        if "GRAFANA_IMAGE" in images:
            self.services.append("grafana")
        engine.environment.update(
            {name: str(port) for name, port in self.ports.items()}
            | images
            | {"COMPOSE_PROFILES": "cpu", "SETTINGS": str(settings)}
        )

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.ports['HTTP_PORT']}"

    def up(self) -> None:
        """One command up."""
        self._engine.compose(self._file, PROJECT, "up", "-d", "--no-build", *self.services)

    def down(self, *, check: bool = True) -> None:
        """One command down; the volumes of this check go too."""
        self._engine.compose(self._file, PROJECT, "down", "--volumes", check=check)

    def container(self, service: str) -> str:
        """The id of a service's container, running or not.

        Raises:
            Failed: there is none.
        """
        labels = (f"label=com.docker.compose.project={PROJECT}",
                  f"label=com.docker.compose.service={service}")  # fmt: skip
        filters = [word for label in labels for word in ("--filter", label)]
        found = self._engine.run("ps", "-aq", *filters).stdout.split()
        if len(found) != 1:
            raise Failed(f"{len(found)} containers of the service {service}, expected 1")
        return found[0]

    def inside(self, service: str, *command: str, check: bool = True) -> str:
        """Run a command in a service's container; what it printed."""
        return self._engine.run("exec", self.container(service), *command, check=check).stdout

    def state(self, service: str) -> dict[str, Any]:
        """What the engine says of a container."""
        found = json.loads(self._engine.run("inspect", self.container(service)).stdout)[0]
        state: dict[str, Any] = found["State"]
        return state

    def logs(self, service: str) -> str:
        """What it wrote."""
        done = self._engine.run("logs", self.container(service), check=False)
        return (done.stdout + done.stderr)[-4000:]

    def asked(self, path: str, body: object = None, seconds: float = 30.0) -> Any:
        """One request over HTTP, its answer decoded."""
        return ask(self.url + path, body, seconds)

    def metric(self, name: str) -> float:
        """The sum of a series of /metrics."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def prometheus(self, query: str) -> float | None:
        """The value of a query to the stack's Prometheus; None where it has none."""
        url = f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}/api/v1/query"
        found = ask(f"{url}?query={urllib.parse.quote(query)}", None, 10)["data"]["result"]
        return float(found[0]["value"][1]) if found else None


def ask(url: str, body: object, seconds: float) -> Any:
    """GET, or POST of JSON; the JSON that comes back.

    Raises:
        OSError: no answer, or one that is no success.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=seconds) as response:
        return json.loads(response.read())


def wait(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Poll until it holds; seconds that it took.

    Raises:
        Failed: it does not hold in time.
    """
    started, last = time.monotonic(), ""
    while True:
        try:
            if condition():
                return time.monotonic() - started
        except (OSError, ValueError, KeyError) as error:
            last = f" (last: {error!r})"
        if time.monotonic() - started > seconds:
            raise Failed(f"{what}: not within {seconds:.0f} s{last}")
        time.sleep(0.1)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
