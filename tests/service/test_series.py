from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import shelf
from service.metrics import Metrics
from service.rewards.core import Result
from service.series import Exposition, Series
from service.shelf import Shelf


def samples(text: bytes) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_a_histogram_is_cumulative_and_keeps_its_sum() -> None:
    series = Series("histogram", "x_seconds", "x", ("stage",), (0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        series.observe(("parse",), value)
    found = samples(Exposition([series]).text())
    name = "softverifier_x_seconds"
    assert found[f"{name}_bucket", ("0.1", "parse")] == 2
    assert found[f"{name}_bucket", ("1", "parse")] == 3
    assert found[f"{name}_bucket", ("+Inf", "parse")] == 4
    assert found[f"{name}_count", ("parse",)] == 4
    assert found[f"{name}_sum", ("parse",)] == 7.65


def test_labels_of_any_kind_are_written_readably() -> None:
    series = Series("counter", "x", "x", ("run",))
    series.add(('a"b\\c\nd é',), 2)
    assert samples(Exposition([series]).text())["softverifier_x_total", ('a"b\\c\nd é',)] == 2


SIBLING = """
import os, signal, sys
from pathlib import Path
from service import shelf
from service.metrics import Metrics
from service.shelf import Shelf
metrics = Metrics(shelf=Shelf(Path(sys.argv[1])))
for _ in range(int(sys.argv[2])):
    metrics.request("r", "200")
metrics.queue_depth("m", float(sys.argv[3]))
metrics.gpu_memory("cuda:0", used=30, total=80, reserved=10)
print("done", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def sibling(folder: Path, counter: int, gauge: float) -> Iterator[subprocess.Popen[str]]:
    """Another process with numbers on the shelf."""
    command = [sys.executable, "-c", SIBLING, str(folder), str(counter), str(gauge)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        yield process
        process.kill()


def test_workers_add_up_and_the_dead_keep_their_counts_but_not_their_queues(
    tmp_path: Path,
) -> None:
    metrics = Metrics(shelf=Shelf(tmp_path))
    metrics.request("r", "200")
    metrics.queue_depth("m", 5)
    metrics.gpu_memory("cuda:0", used=30, total=80, reserved=10)
    with sibling(tmp_path, 10, 2.0), sibling(tmp_path, 100, 50.0) as dying:
        found = samples(metrics.expose())
        assert found["softverifier_queue_depth", ("m",)] == 57
        assert found["softverifier_gpu_memory_bytes", ("cuda:0", "used")] == 30  # of the machine
        assert found["softverifier_gpu_reserved_bytes", ("cuda:0",)] == 30  # of the processes
        dying.kill()
        dying.wait()
        found = samples(metrics.expose())
        assert found["softverifier_requests_total", ("200", "r")] == 111
        assert found["softverifier_queue_depth", ("m",)] == 7
    metrics.request("r", "200")
    assert samples(metrics.expose())["softverifier_requests_total", ("200", "r")] == 112


def test_a_histogram_is_read_whole_from_the_shelf(tmp_path: Path) -> None:
    ours, theirs = (Series("histogram", "x_seconds", "x", ("stage",), (0.1, 1.0)) for _ in range(2))
    Exposition([theirs], Shelf(tmp_path))
    shown = Exposition([ours], Shelf(tmp_path))
    for series in (ours, theirs):
        for value in (0.05, 0.5, 7.0):
            series.observe(("parse",), value)
    found = samples(shown.text())
    assert found["softverifier_x_seconds_bucket", ("0.1", "parse")] == 2
    assert found["softverifier_x_seconds_count", ("parse",)] == 6
    assert found["softverifier_x_seconds_sum", ("parse",)] == 15.1


def test_a_shelf_grows_and_a_full_disk_costs_the_sharing_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series, more = (Series("counter", name, "x", ("run",)) for name in ("x", "y"))
    Exposition([series, more], Shelf(tmp_path))
    shown = Exposition([Series("counter", "x", "x", ("run",))], Shelf(tmp_path))
    count = shelf.SEGMENT + 5
    for i in range(count):
        series.add((str(i),), i)
    found = samples(shown.text())
    assert found["softverifier_x_total", (str(count - 1),)] == count - 1
    assert len(found) == count

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(shelf, "SEGMENT", 0)
    more.add(("a",), 3)
    more.add(("a",), 4)
    assert more.children["a",][0] == 7


def test_runs_beyond_the_bound_share_a_label() -> None:
    metrics = Metrics(max_runs=2)
    result = Result(None, "ok", 0.5, 1.0, "yes", "OK", [])
    for run in ("a", "b", "c", "d", "a"):
        metrics.results("p", run, "elsewhere", [result])
    found = samples(metrics.expose())
    name = "softverifier_reward_count"
    counts = {run: found.get((name, tuple(sorted(("p", run, "other"))))) for run in ("a", "b", "c")}
    assert counts == {"a": 2, "b": 1, "c": None}
    assert found[name, ("other", "other", "p")] == 2


def test_a_null_reward_enters_no_histogram() -> None:
    metrics = Metrics()
    metrics.results("p", "", "", [Result(None, "abstain", None, 0.0, None, "UNKNOWN_GENE", [])])
    found = samples(metrics.expose())
    assert ("softverifier_reward_count", ("", "", "p")) not in found
    assert found["softverifier_items_total", ("UNKNOWN_GENE", "abstain", "p")] == 1
