"""The server's half: two world models trained without the held-out rows, and a server of them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import numpy as np
from numpy.typing import NDArray

from worldmodels.core import ModelFault

NAMES: Final = ("pair-mlp", "screen")
CHUNK: Final = 1000
PROGRAM: Final = (sys.executable, "-m", "service")
CONFIG: Final = "[starter]\nenabled = false\n"


def train(name: str, tables: Path, data: Path, line: str, seed: int, folder: Path) -> Path:
    """A world model's folder; one that is there is used again.

    Raises:
        ModelFault: training failed, with the end of what it printed.
    """
    path = folder / name
    if (path / "manifest.toml").exists():
        return path
    options = {
        "pair-mlp": ["--de", tables / f"{line}-de.csv", "--graphs", data],
        "screen": ["--perturbqa", tables, "--graphs", data, "--lines", line, "--within-line"],
    }[name]
    log = folder / f"{name}.log"
    folder.mkdir(parents=True, exist_ok=True)
    command = [*PROGRAM, "train", name, *options, "--seed", seed, "--out", path]
    with log.open("w") as file:
        done = subprocess.run(list(map(str, command)), stdout=file, stderr=file, check=False)
    if done.returncode:
        raise ModelFault(f"training {name} failed; the end of {log}:\n{_end(log)}")
    return path


@contextmanager
def serving(models: Sequence[Path], folder: Path) -> Iterator[str]:
    """The address of a server of these models, ended afterwards.

    Raises:
        ModelFault: it did not start, with the end of what it printed.
    """
    config, log = folder / "server.toml", folder / "server.log"
    config.write_text(CONFIG)
    named = [part for path in models for part in ("--model", str(path))]
    command = [*PROGRAM, "serve", "--config", str(config), *named]
    with log.open("w") as file:
        server = subprocess.Popen(
            [*command, "--http-port", "0", "--grpc-port", "0"],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    try:
        yield _address(server, log)
    finally:
        server.terminate()
        server.communicate()


def _address(server: subprocess.Popen[str], log: Path) -> str:
    found = ""
    for line in server.stdout or ():
        if match := re.search(r"HTTP +(http://\S+)", line):
            found = match[1]
        if line.startswith("Ready."):
            return found
    raise ModelFault(f"the server ended; the end of {log}:\n{_end(log)}")


def _end(log: Path) -> str:
    return log.read_text()[-1500:]


def ask(
    url: str, model: str, line: str, pairs: Sequence[tuple[str, str, int]]
) -> NDArray[np.float64]:
    """The model's p for each pair, NaN where it has none; shape (n,)."""
    found: list[float] = []
    with httpx.Client(base_url=url, timeout=60) as client:
        for start in range(0, len(pairs), CHUNK):
            part = pairs[start : start + CHUNK]
            answer = client.post(
                "/v1/predict",
                json={
                    "model": model,
                    "relation": "perturbation.de",
                    "context": line,
                    "subjects": [a for a, _, _ in part],
                    "objects": [b for _, b, _ in part],
                },
            )
            answer.raise_for_status()
            found += [float("nan") if p is None else p for p in answer.json()["p"]]
    return np.array(found)
