from __future__ import annotations

import json
import os
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics
from service.rewards.core import Result
from service.series import Exposition, Series


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


def sibling(folder: Path, pid: int, counter: float, gauge: float) -> None:
    series = {"requests": [[["r", "200"], [counter]]], "queue_depth": [[["m"], [gauge]]]}
    (folder / f"{pid}.json").write_text(json.dumps({"pid": pid, "series": series}))


def test_workers_add_up_and_the_dead_keep_their_counts_but_not_their_queues(
    tmp_path: Path,
) -> None:
    metrics = Metrics(shared=tmp_path)
    metrics.request("r", "200")
    metrics.queue_depth("m", 5)
    metrics.save()
    assert (tmp_path / f"{os.getpid()}.json").exists()
    sibling(tmp_path, os.getppid(), counter=10, gauge=2)
    sibling(tmp_path, 2**22 + 1, counter=100, gauge=50)  # beyond the greatest process id
    found = samples(metrics.expose())
    assert found["softverifier_requests_total", ("200", "r")] == 111
    assert found["softverifier_queue_depth", ("m",)] == 7


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
