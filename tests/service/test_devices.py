"""Where models compute, as the server, its settings and its metrics have it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from service import app, settings
from service.batcher import Hosted
from service.device_memory import watcher
from service.errors import StartupFault
from service.metrics import Metrics
from service.settings import Batching
from worldmodels import checkpoints
from worldmodels.core import Queries
from worldmodels.fake import FakeModel
from worldmodels.genes import GeneResolver
from worldmodels.registry import Source


class Recording(FakeModel):
    """A fake that claims a device and remembers how many rows it was asked."""

    def __init__(self, device: str) -> None:
        super().__init__(Source(family="fake", name="fake"), GeneResolver.as_they_are())
        self.spec = dataclasses.replace(self.spec, device=device)
        self.asked: list[int] = []

    def predict(self, queries: Queries):  # type: ignore[no-untyped-def]
        self.asked.append(len(queries))
        return super().predict(queries)


@pytest.mark.parametrize(
    ("device", "sizes"),
    [("cuda:0", [1, 2, 4, 8, 16, 32, 64, 100]), ("cpu", [])],
)
def test_a_gpu_is_warmed_up_with_every_bucket(device: str, sizes: list[int]) -> None:
    model = Recording(device)
    Hosted(model, Batching(max_batch=100), Metrics()).warm()  # type: ignore[call-arg]
    assert model.asked[: len(sizes)] == sizes
    assert set(model.asked[len(sizes) :]) == {1, 256}


@pytest.mark.parametrize(
    ("family", "device", "may"),
    [
        ("scgpt", "auto", True),
        ("of a plugin", "auto", True),
        ("graph", "auto", False),
        ("pair-mlp", "auto", False),
        ("pair-mlp", "cuda:0", True),
        ("scgpt", "cpu", False),
    ],
)
def test_a_bulk_worker_takes_a_gpu_only_for_who_computes_there(
    family: str, device: str, may: bool
) -> None:
    entry = settings.Model(family=family)
    assert app.may_use_gpu(entry, device) is may
    assert app.may_use_gpu(settings.Model(family=family, device="cpu"), device) is False


def test_a_folder_tells_its_family(tmp_path: Path) -> None:
    stated = checkpoints.Manifest(name="kg", family="graph", version="1", relations=())
    folder = checkpoints.write(tmp_path / "kg", stated).path
    assert app.may_use_gpu(settings.Model(path=folder)) is False
    assert app.may_use_gpu(settings.Model(path=folder, device="cuda")) is True


def test_gauges_are_set_when_they_are_looked_at() -> None:
    metrics = Metrics()
    free = iter([70, 60])
    metrics.watch(lambda mine: mine.gpu_memory("cuda:0", 80 - next(free), 80, 1))
    assert b'kind="used"} 10.0' in metrics.expose()
    assert b'kind="used"} 20.0' in metrics.expose()


def test_nobody_watches_the_memory_of_the_cpu() -> None:
    assert watcher([Hosted(Recording("cpu"), Batching(), Metrics())]) is None  # type: ignore[call-arg]
    assert watcher([]) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '[server]\ndevice = "gpu"',
            "server.device: expected auto, cpu, cuda or cuda:N (found 'gpu')",
        ),
        ('[[models]]\nfamily = "fake"\ndevice = "cuda:x"', "models.0.device"),
        ('[[models]]\nfamily = "fake"\nmemory_mb = 0', "models.0.memory_mb"),
        ('[[models]]\nfamily = "fake"\ndevcie = "cpu"', "did you mean 'device'"),
    ],
    ids=["server", "model", "budget", "typo"],
)
def test_settings_that_are_refused(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "sv.toml"
    file.write_text(text)
    with pytest.raises(StartupFault) as fault:
        settings.load(file)
    assert says in str(fault.value)


@pytest.mark.parametrize(
    ("entry", "options", "code"),
    [
        ("", ["--device", "cuda:31"], 2),
        ('device = "cpu"', ["--device", "cuda:31"], 0),
        ('device = "cuda:31"', [], 2),
    ],
    ids=["option", "entry first", "entry"],
)
def test_a_device_that_is_not_there_is_one_line(
    entry: str, options: list[str], code: int, tmp_path: Path
) -> None:
    file = tmp_path / "sv.toml"
    file.write_text(f'[starter]\nenabled = false\n[[models]]\nfamily = "fake"\n{entry}\n')
    done = subprocess.run(
        [sys.executable, "-m", "service", "models", "--config", str(file), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code
    if code:
        assert "model 'fake': device 'cuda:31' cannot be used" in done.stderr
        assert "Traceback" not in done.stderr
