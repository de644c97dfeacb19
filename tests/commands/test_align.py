"""``soft-verifier align``: planted runs, kinds of log and truth, mistakes named; end to end."""

from __future__ import annotations

import gzip
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from running import write_config
from servers import ServerProcess, post
from service.commands.align import align
from service.errors import ServiceError
from simulated_run import (
    DIGEST,
    hacked,
    hacked_style,
    honest,
    lines,
    truth_rows,
    write_log,
    write_truth,
)
from softverifier import RewardClient
from worldmodels.core import ModelFault

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run() -> Run:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(align)

    def call(*arguments: Any) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(result.exception, ServiceError | ModelFault):
            return 2, "", str(result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is hacked from step 60, one that is honest, and the truth of both."""
    folder = tmp_path_factory.mktemp("runs")
    write_truth(folder / "truth.csv")
    train = lines(hacked, hacked_style)
    write_log(folder / "train.jsonl", train)
    write_log(
        folder / "hacked.jsonl",
        train,
        lines(honest, split="id", seed=2),
        lines(lambda _: 0.6, hacked_style, split="ood", seed=3),
    )
    write_log(folder / "honest.jsonl", lines(honest, seed=4))
    return folder


def judged(run: Run, *arguments: Any) -> dict[str, Any]:
    code, out, error = run(*arguments, "--json")
    assert code == 0, error
    report: dict[str, Any] = json.loads(out)
    return report


def by_split(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {curve["truth_split"]: curve for curve in report["curves"]}


# --- what was planted --------------------------------------------------------------------------


def test_hacking_is_found_where_it_begins(run: Run, made: Path) -> None:
    report = judged(run, made / "hacked.jsonl", "--truth", made / "truth.csv")
    curves = by_split(report)
    assert curves["train"]["verdict"] == "diverges"
    assert abs(curves["train"]["divergence"]["step"] - 60) <= 8
    assert curves["ood"]["verdict"] == "diverges"
    assert curves["id"]["verdict"] == "no divergence seen"
    assert curves["id"]["spearman"]["low"] > 0.5
    assert curves["train"]["youden"]["j"] < curves["id"]["youden"]["j"]
    assert curves["train"]["groups"]["groups"] == 960
    assert curves["train"]["groups"]["pairwise_accuracy"] > 0.9
    (gap,) = report["gaps"]
    assert gap["of"] == ["id", "ood"]
    assert gap["truth_last"] - gap["truth_first"] > 0.1
    assert gap["reward_last"] < gap["reward_first"]
    assert report["joined"] == report["records"] == 3 * 120 * 64


def test_an_honest_run_passes(run: Run, made: Path) -> None:
    arguments = (made / "honest.jsonl", "--truth", made / "truth.csv", "--fail-on-divergence")
    code, out, _ = run(*arguments)
    assert code == 0
    assert "no divergence seen" in out
    assert "diverges" not in out


def test_fail_on_divergence_exits_3_and_only_then(run: Run, made: Path) -> None:
    arguments = (made / "train.jsonl", "--truth", made / "truth.csv")
    assert run(*arguments)[0] == 0
    code, out, _ = run(*arguments, "--fail-on-divergence")
    assert code == 3
    assert "diverges from step" in out


@pytest.mark.parametrize("metric", ["accuracy", "mcc"])
def test_every_metric_sees_it(run: Run, made: Path, metric: str) -> None:
    arguments = (made / "train.jsonl", "--truth", made / "truth.csv", "--metric", metric)
    report = judged(run, *arguments)
    assert report["metric"] == metric
    assert by_split(report)["train"]["verdict"] == "diverges"


def test_a_metric_by_step_stands_beside_the_training_reward(
    run: Run, made: Path, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    rows = [
        f"{step},{split},{skill(step) + generator.normal(0, 0.02):.4f}\n"
        for step in range(0, 120, 4)
        for split, skill in (("id", honest), ("ood", hacked))
    ]
    truth = tmp_path / "eval.csv"
    truth.write_text("step,split,accuracy\n" + "".join(rows))
    report = judged(run, made / "train.jsonl", "--truth", truth)
    curves = by_split(report)
    assert (report["truth_kind"], report["metric"]) == ("metric", "accuracy")
    assert {curve["split"] for curve in curves.values()} == {"train"}
    assert curves["ood"]["verdict"] == "diverges"
    assert abs(curves["ood"]["divergence"]["step"] - 60) <= 12
    assert curves["id"]["verdict"] == "no divergence seen"


# --- what is written ---------------------------------------------------------------------------


def test_the_folder_holds_the_report_and_the_same_one_each_time(
    run: Run, made: Path, tmp_path: Path
) -> None:
    arguments = (made / "train.jsonl", "--truth", made / "truth.csv")
    for name in ("first", "second"):
        assert run(*arguments, "--out", tmp_path / name, "--png")[0] == 0
    for file in ("report.md", "report.json", "report.svg", "report.png"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    page = (tmp_path / "first" / "report.md").read_text()
    assert "diverges from step" in page
    assert "![reward and truth over steps](report.svg)" in page
    svg = (tmp_path / "first" / "report.svg").read_text()
    assert ET.fromstring(svg).tag.endswith("svg")
    assert "train: diverges from step" in svg
    assert "balanced_accuracy" in svg
    report = json.loads((tmp_path / "first" / "report.json").read_text())
    assert report == judged(run, *arguments)
    assert len(report["curves"][0]["points"]) == 120


def test_names_of_any_script_are_shown_as_they_are(run: Run, made: Path, tmp_path: Path) -> None:
    name = "süß $x_1$ 实验 | <b>`\x1b[31m"
    log = write_log(tmp_path / "a.jsonl", lines(honest, steps=30, groups=2, run=name))
    code, out, _ = run(log, "--truth", made / "truth.csv", "--out", tmp_path / "o", "--png")
    assert code == 0
    assert "\x1b[31m" not in out
    page = (tmp_path / "o" / "report.md").read_text()
    assert "süß $x\\_1$ 实验 \\| \\<b\\>\\`" in page
    assert "实验" in (tmp_path / "o" / "report.svg").read_text()


def test_more_curves_than_the_figure_holds(run: Run, made: Path, tmp_path: Path) -> None:
    parts = [
        lines(honest, steps=4, groups=1, size=2 + (i > 9), split=f"s{i:02}") for i in range(14)
    ]
    log = write_log(tmp_path / "a.jsonl", *parts)
    arguments = (log, "--truth", made / "truth.csv", "--metric", "accuracy")
    assert run(*arguments, "--out", tmp_path / "o")[0] == 0
    assert "leaves out 2 curves" in (tmp_path / "o" / "report.md").read_text()
    svg = (tmp_path / "o" / "report.svg").read_text()
    assert "s13:" in svg
    assert "s09:" not in svg


# --- what is read ------------------------------------------------------------------------------


def test_a_log_in_gzipped_pieces_with_a_torn_line_is_the_same_log(
    run: Run, made: Path, tmp_path: Path
) -> None:
    whole = (made / "honest.jsonl").read_bytes()
    cut = whole.index(b"\n", len(whole) // 2) + 1
    (tmp_path / "a-000001.jsonl.gz").write_bytes(gzip.compress(whole[:cut]))
    (tmp_path / "a.jsonl").write_bytes(whole[cut:] + whole[:300])
    report = judged(run, tmp_path / "a.jsonl", "--truth", made / "truth.csv")
    assert (report["malformed"], len(report["files"])) == (1, 2)
    plain = judged(run, made / "honest.jsonl", "--truth", made / "truth.csv")
    assert report["curves"] == plain["curves"]


def test_retries_change_nothing(run: Run, made: Path, tmp_path: Path) -> None:
    once = lines(honest, seed=4)
    again = [{**line, "request": f"again-{line['request']}"} for line in once[:500]]
    log = write_log(tmp_path / "a.jsonl", once[:600], again, once[600:])
    report = judged(run, log, "--truth", made / "truth.csv")
    assert report["repeated"] == 500
    plain = judged(run, made / "honest.jsonl", "--truth", made / "truth.csv")
    assert report["curves"] == plain["curves"]


def test_rewards_of_score_with_a_step_and_an_id_do_as_well(
    run: Run, made: Path, tmp_path: Path
) -> None:
    rows, truth = [], ["id,label\n"]
    changed = {p for p, _, label in truth_rows() if label}
    for number, line in enumerate(lines(hacked, hacked_style), 1):
        kept = {name: line[name] for name in ("id", "split", "status", "reward", "answer", "step")}
        rows.append({"row": number, **kept})
        truth.append(f"{line['id']},{int(line['task']['perturbation'] in changed)}\n")
    (tmp_path / "truth.csv").write_text("".join(truth))
    log = write_log(tmp_path / "c.jsonl.rewards.jsonl", rows)
    report = judged(run, log, "--truth", tmp_path / "truth.csv")
    (curve,) = report["curves"]
    assert (curve["run"], curve["profile"], curve["verdict"]) == ("", "", "diverges")
    assert curve["groups"]["groups"] == 0
    assert curve["groups"]["pairwise_accuracy"] is None


def test_recipes_are_judged_apart_and_can_be_chosen(run: Run, made: Path, tmp_path: Path) -> None:
    other = f"sha256:{'b' * 64}"
    parts = (lines(honest, steps=20), lines(honest, steps=20, profile_digest=other))
    log = write_log(tmp_path / "a.jsonl", *parts)
    report = judged(run, log, "--truth", made / "truth.csv")
    assert len(report["curves"]) == 2
    assert "was rewarded by 2 recipes" in report["notes"][0]
    pinned = judged(run, log, "--truth", made / "truth.csv", "--profile", f"soft@{DIGEST}")
    assert [curve["profile_digest"] for curve in pinned["curves"]] == [DIGEST]
    code, _, error = run(log, "--truth", made / "truth.csv", "--profile", "sofd")
    assert code == 2
    assert "did you mean 'soft'" in error


def test_what_has_no_truth_is_counted_and_three_shown(run: Run, made: Path, tmp_path: Path) -> None:
    task = {"type": "perturbation.de", "perturbation": "NEW", "gene": "X", "cell_line": "k562"}
    strange = lines(honest, steps=20, groups=1, split="new", task=task)
    log = write_log(tmp_path / "a.jsonl", lines(honest, steps=20), strange)
    report = judged(run, log, "--truth", made / "truth.csv")
    assert report["without_truth"] == 160
    assert report["without_truth_examples"] == ["perturbation.de NEW X k562"]
    assert by_split(report)["new"]["verdict"] == "no truth"
    assert by_split(report)["train"]["items"] == 20 * 64


def test_collapse_and_nulls_are_shown(run: Run, made: Path, tmp_path: Path) -> None:
    made_lines = lines(honest, steps=40, groups=2)
    for line in made_lines:
        if line["step"] >= 30:
            line["answer"] = "yes"
        if line["step"] == 5:
            line.update(status="abstain", reward=None)
        if line["step"] == 6:
            line.update(status="invalid", reward=0.0, answer=None)
    log = write_log(tmp_path / "a.jsonl", made_lines)
    (curve,) = judged(run, log, "--truth", made / "truth.csv")["curves"]
    assert curve["collapse_last"] == 1.0
    assert curve["collapse_first"] < 0.95
    assert curve["shares"] == {"invalid": 1 / 40, "abstain": 1 / 40, "error": 0.0}
    points = {point["step"]: point for point in curve["points"]}
    assert points[5]["reward"] is None
    assert points[6]["reward"] == 0.0
    assert points[6]["truth"] is None


@pytest.mark.parametrize("text", ["step,split,value\n1,b,1\n", "step,run,value\n1,x,1\n"])
def test_a_metric_of_other_splits_or_runs_is_refused(run: Run, tmp_path: Path, text: str) -> None:
    parts = [lines(honest, steps=4, split=split) for split in ("x", "y")]
    log = write_log(tmp_path / "a.jsonl", *parts)
    (tmp_path / "eval.csv").write_text(text)
    code, _, error = run(log, "--truth", tmp_path / "eval.csv")
    assert code == 2
    assert "the splits 'x', 'y' of the runs 'a1'" in error


# --- mistakes ----------------------------------------------------------------------------------

STEPLESS = '{"status": "ok", "reward": 1.0, "id": "r1"}\n'
STEPPED = '{"status": "ok", "reward": 1.0, "id": "r1", "step": 1}\n'
MISTAKES = {
    "empty": ("", (), "no line in it"),
    "blank": ("\n \n", (), "no line in it"),
    "no log": ("hello\nworld\n", (), "none of 2 lines is a scored item"),
    "no step": (STEPLESS * 3, (), "none of 3 items has a step .*id 'r1'.*send context"),
    "no such run": (STEPLESS, ("--run", "b"), "nothing of --run b"),
    "png without folder": (STEPLESS, ("--png",), "--png is written into the folder of --out"),
    "no such metric": (STEPLESS, ("--metric", "auc"), "with labelled rows one of"),
    "no label": (STEPPED, (), "none of 1 items has a label there .*no task, id 'r1'"),
    "no such gene table": (STEPLESS, ("--genes", "none.txt"), "none.txt"),
}


@pytest.mark.parametrize(("text", "options", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_end_in_one_message(
    run: Run, made: Path, tmp_path: Path, text: str, options: tuple[str, ...], said: str
) -> None:
    log = tmp_path / "a.jsonl"
    log.write_text(text)
    code, _, error = run(log, "--truth", made / "truth.csv", *options)
    assert code == 2
    assert re.search(said, error)


# --- end to end --------------------------------------------------------------------------------


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[ServerProcess]:
    config = write_config(tmp_path)
    config.write_text(f'{config.read_text()}\n[audit]\npath = "{tmp_path}/audit.jsonl"\n')
    server = ServerProcess(tmp_path, "", "--config", str(config)).start()
    yield server
    server.stop()


def test_a_server_s_log_is_read(run: Run, audited: ServerProcess, tmp_path: Path) -> None:
    """Steps over HTTP and gRPC in turn; the policy learns to be right, some text is no answer."""
    generator = np.random.default_rng(0)
    rows = [(f"G{i}", i % 3 == 0) for i in range(60)]
    truth = "".join(f"{gene},X,{int(label)}\n" for gene, label in rows)
    (tmp_path / "k562-de.csv").write_text(f"pert,gene,label\n{truth}")
    with RewardClient(audited.grpc_url, profile="soft") as client:
        for step in range(24):
            items = []
            for gene, label in rows:
                right = generator.random() < 0.5 + step / 48
                said = "yes" if label == right else "no"
                think = "<think>It may well be so in these cells.</think>"
                task = {"type": "perturbation.de", "perturbation": gene, "gene": "X"}
                items.append(
                    {
                        "id": f"{step}-{gene}",
                        "group": gene,
                        "completion": f"{think}<answer>{said}</answer>" if gene != "G7" else "?",
                        "task": {**task, "cell_line": "K562"},
                    }
                )
            context = {"run": "real", "step": step, "split": "id"}
            if step % 2:
                client.score(items, context=context)
            else:
                body = {"profile": "soft", "context": context, "items": items}
                assert post(f"{audited.url}/v1/score", json=body).status_code == 200
    audited.terminate()
    assert audited.wait() == 0
    report = judged(run, tmp_path / "audit.jsonl", "--truth", tmp_path / "k562-de.csv")
    assert (report["malformed"], report["records"], report["joined"]) == (0, 1440, 1440)
    (curve,) = report["curves"]
    assert (curve["run"], curve["split"], curve["profile"]) == ("real", "id", "soft")
    assert curve["profile_digest"].startswith("sha256:")
    assert curve["shares"]["invalid"] == pytest.approx(1 / 60)
    assert curve["truth_last"] > 0.8 > 0.7 > curve["truth_first"]
    assert curve["verdict"] in ("no divergence seen", "undecided")  # rewards of a fake model


@pytest.mark.parametrize("options", [["--run", "b"], []], ids=["unknown run", "no truth"])
def test_a_log_does_not_write_to_the_terminal(tmp_path: Path, run: Run, options: list[str]) -> None:
    evil = "\x1b[2J\x07"
    record = {"status": "ok", "reward": 1.0, "step": 1, "run": evil, "id": "x", "answer": "yes"}
    record["task"] = {"type": "perturbation.de", "perturbation": evil, "gene": evil}
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    (tmp_path / "truth.csv").write_text("id,label\n1,yes\n")
    code, _, error = run(tmp_path / "a.jsonl", "--truth", tmp_path / "truth.csv", *options)
    assert code == 2
    assert "[2J" in error
    assert "\x1b" not in error
    assert "\x07" not in error
