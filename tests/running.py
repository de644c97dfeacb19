"""The real service in a thread of the test's process, with the fake world model behind it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from service import app, settings
from service.front import rpc

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
        self._service = app.build(settings.load(config, {"server": {"http_port": 0}}))
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.http = self.grpc = ""

    def start(self) -> RunningService:
        self._thread.start()
        assert self._ready.wait(20), "the service did not start"
        return self

    async def _run(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await self._service.start()
        pipeline = self._service.pipeline
        grpc_server, port = await rpc.serve(pipeline, "127.0.0.1:0", 64 << 20, shared=False)
        sock = app.listen("127.0.0.1", 0, shared=False, what="http_port")
        http = app._http_server(self._service)
        serving = asyncio.create_task(http.serve(sockets=[sock]))
        while not http.started:
            await asyncio.sleep(0.005)
        self.http = f"http://127.0.0.1:{sock.getsockname()[1]}"
        self.grpc = f"grpc://127.0.0.1:{port}"
        self._ready.set()
        await self._stopping.wait()
        pipeline.drain()
        http.should_exit = True
        await grpc_server.stop(1)
        await serving
        await self._service.stop()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
