"""Lines to sums: what is malformed is counted, what is a retry counts once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from service.alignment import tally as tallying
from service.alignment.curves import curves_of
from service.alignment.records import Reading, Record, files_of, read
from service.alignment.tally import CurveKey, Step, Tally
from service.alignment.truths import Labels, Metric
from service.errors import StartupFault
from simulated_run import DIGEST, lines
from worldmodels.genes import GeneResolver

GOOD = {"status": "ok", "reward": 0.5, "step": 1}


def line(**more: Any) -> Record:
    fields = {"request": "q1", "id": "r1", "group": "g", "completion_digest": "d", **GOOD, **more}
    return Record(**fields)


def tallied(*records: Record, **more: Any) -> Tally:
    tally = Tally(**more)
    tally.add(records)
    return tally


def only(tally: Tally) -> Step:
    ((step,),) = (steps.values() for steps in tally.curves.values())
    return step


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[1]",
        "7",
        '{"status": "ok", "reward": NaN, "step": 1}',
        '{"status": "ok", "reward": 1e999, "step": 1}',
        '{"status": "ok", "reward": -Infinity, "step": 1}',
        '{"status": "ok", "reward": null, "step": 1}',
        '{"status": "abstain", "reward": 0.5, "step": 1}',
        '{"status": "fine", "reward": 0.5, "step": 1}',
        '{"reward": 0.5, "step": 1}',
        '{"status": "ok", "reward": 0.5, "step": "one"}',
        '{"status": "ok", "reward": 0.5, "step": 1.5}',
        '{"status": "ok", "reward": 0.5, "step": 1%s}' % ("0" * 400),
        '{"status": "ok", "reward": "0.5"}',
        '{"status": "ok", "reward": 0.5, "task": {"type": "\ud800"}}',
        "[" * 5000,
    ],
)
def test_malformed_lines_are_counted_and_left_out(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "a.jsonl"
    text = f"{json.dumps(GOOD)}\n\n{bad}\n{json.dumps(GOOD)}\n"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    reading = Reading()
    assert len(list(read([path], reading))) == 2
    assert (reading.lines, reading.malformed) == (3, 1)
    assert "a.jsonl, line 3:" in reading.examples[0]


def test_three_malformed_lines_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("x\n" * 100)
    reading = Reading()
    assert list(read([path], reading)) == []
    assert (reading.malformed, len(reading.examples)) == (100, 3)


def test_pieces_and_gzip_are_read_in_order_each_once(tmp_path: Path) -> None:
    def text(number: int) -> bytes:
        return json.dumps({**GOOD, "step": number}).encode() + b"\n"

    (tmp_path / "a-000001.jsonl.gz").write_bytes(gzip.compress(text(1)))
    (tmp_path / "a-000002.jsonl").write_bytes(text(2))
    (tmp_path / "a.jsonl").write_bytes(text(3))
    (tmp_path / "ab-000001.jsonl").write_bytes(text(9))
    files = files_of([tmp_path / "a.jsonl", tmp_path / "a-000002.jsonl"])
    assert [record.step for record in read(files, Reading())] == [1, 2, 3]


def test_a_damaged_gzip_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    import random

    whole = b"".join(
        json.dumps({**GOOD, "run": str(random.Random(i).random())}).encode() + b"\n"
        for i in range(5000)
    )
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(whole)[:-2000])
    reading = Reading()
    assert 1000 < len(list(read([path], reading))) < 5000
    assert "damaged after line" in reading.notes[0]


@pytest.mark.parametrize("name", ["no.jsonl", ""], ids=["missing", "folder"])
def test_logs_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartupFault, match=r"no such file|is a folder"):
        files_of([tmp_path / name])


# --- adding up ---------------------------------------------------------------------------------

RETRIES = {
    "a retry": ([{}, {"request": "q2"}], 1, 1),
    "a retry after an error": (
        [{"status": "error", "reward": None}, {"request": "q2", "reward": 0.9}], 1, 1,
    ),
    "an error after a reward": (
        [{"reward": 0.9}, {"request": "q2", "status": "error", "reward": None}], 1, 1,
    ),
    "one request, equal samples": ([{}, {}, {}], 3, 0),
    "another completion": ([{}, {"request": "q2", "completion_digest": "e"}], 2, 0),
    "another group": ([{}, {"request": "q2", "group": "h"}], 2, 0),
    "another step": ([{}, {"request": "q2", "step": 2}], 2, 0),
    "another run": ([{}, {"request": "q2", "run": "b"}], 2, 0),
    "no id": ([{"id": None}, {"id": None, "request": "q2"}], 2, 0),
    "no id and no group": ([{"id": None, "group": None}] * 2, 2, 0),
    "no group, a retry": ([{"group": None}, {"group": None, "request": "q2"}], 1, 1),
    "rows of a file": ([{"request": None}, {"request": None}], 2, 0),
    "group 1 and group '1' are one": ([{"group": 1}, {"group": "1", "request": "q2"}], 1, 1),
}  # fmt: skip


@pytest.mark.parametrize(("made", "count", "repeated"), RETRIES.values(), ids=RETRIES)
def test_retries_count_once(made: list[dict[str, Any]], count: int, repeated: int) -> None:
    tally = tallied(*(line(**more) for more in made))
    steps = [step for steps in tally.curves.values() for step in steps.values()]
    assert sum(step.statuses.total() for step in steps) == count
    assert tally.repeated == repeated
    if "reward" in made[-1] or "reward" in made[0]:
        assert [step.reward_sum for step in steps] == [0.9]


def test_keep_repeats_counts_every_line() -> None:
    tally = tallied(line(), line(request="q2"), keep_repeats=True)
    assert only(tally).statuses.total() == 2
    assert tally.repeated == 0


def test_nulls_are_no_rewards() -> None:
    step = only(
        tallied(
            line(id=1, reward=0.25),
            line(id=2, status="invalid", reward=0.0, answer=None),
            line(id=3, status="abstain", reward=None, answer="yes"),
            line(id=4, status="error", reward=None),
        )
    )
    assert (step.rewarded, step.reward_sum) == (2, 0.25)
    assert dict(step.statuses) == {"ok": 1, "invalid": 1, "abstain": 1, "error": 1}
    assert dict(step.answers) == {"yes": 1}
    assert step.groups.groups == 1


def test_groups_of_any_order_and_number_add_up_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [Record(**_fields(one)) for one in lines(lambda _: 0.7, steps=3, groups=20, size=4)]
    labels = Labels("t", 1, {("", *pair): 1 for pair in _pairs(records)}, {}, GeneResolver())
    whole = tallied(*records, labels=labels)
    interleaved = sorted(records, key=lambda record: str(record.id)[::-1])
    mixed = tallied(*interleaved, labels=labels)
    monkeypatch.setattr(tallying, "HELD", 8)
    narrow = tallied(*records, labels=labels)
    key = CurveKey("a1", "soft", DIGEST, "train")
    for tally in (mixed, narrow):
        for number, step in whole.curves[key].items():
            other = tally.curves[key][number]
            assert other.groups.pairs == step.groups.pairs
            assert other.groups.variance == pytest.approx(step.groups.variance)
            assert other.outcomes == step.outcomes
            assert other.judged == step.judged


def _fields(one: dict[str, Any]) -> dict[str, Any]:
    return {name: one[name] for name in Record.__struct_fields__}


def _pairs(records: list[Record]) -> set[tuple[str, str, str]]:
    return {(r.task["perturbation"], r.task["gene"], "k562") for r in records if r.task}


# --- rewards beside a metric -------------------------------------------------------------------


def rewards(*splits: str, run: str = "a", steps: int = 6) -> list[Record]:
    return [
        line(run=run, split=split, step=step, id=f"{split}{step}", reward=step / 10)
        for split in splits
        for step in range(1, steps + 1)
    ]


@pytest.mark.parametrize(
    ("splits", "truth", "found"),
    [
        (["train"], ["ood"], [("train", "ood")]),
        (["train", "ood"], ["ood"], [("ood", "ood"), ("train", None)]),
        (["train"], ["id", "OOD"], [("train", "id"), ("train", "OOD")]),
        (["a", "b"], ["ood"], [("a", None), ("b", None)]),
        (["a"], ["ood"], [("a", "ood")]),
        (["", "ood"], ["test"], [("", "test"), ("ood", None)]),
        (["a", "b"], [""], [("a", "a"), ("b", "b")]),
        (["Train"], ["train"], [("Train", "train")]),
    ],
)
def test_which_reward_stands_beside_which_truth(
    splits: list[str], truth: list[str], found: list[tuple[str, str | None]]
) -> None:
    values = {("", split): {3: 0.5, 6: 0.6} for split in truth}
    curves = curves_of(tallied(*rewards(*splits)), Metric("t", 2, "acc", values), "accuracy")
    pairs = {(c.key.split, c.truth_split if c.both.any() else None) for c in curves}
    assert pairs == set(found)


def test_the_reward_beside_a_value_is_the_mean_since_the_value_before() -> None:
    metric = Metric("t", 2, "acc", {("", ""): {2: 0.5, 5: 0.6, 9: 0.7}})
    (curve,) = curves_of(tallied(*rewards("train")), metric, "accuracy")
    assert curve.steps == [2, 5, 9]
    assert curve.reward == pytest.approx([0.15, 0.4, 0.6])
    assert curve.truth == pytest.approx([0.5, 0.6, 0.7])


def test_runs_have_truths_of_their_own() -> None:
    values = {("a", ""): {6: 0.1}, ("b", ""): {6: 0.2}, ("", ""): {6: 0.3}}
    tally = tallied(*rewards("train"), *rewards("train", run="b"), *rewards("train", run="c"))
    curves = curves_of(tally, Metric("t", 3, "acc", values), "accuracy")
    assert [float(curve.truth[0]) for curve in curves] == [0.1, 0.2, 0.3]
