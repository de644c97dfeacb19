"""``soft-verifier replay``: a real server's log scored again, with its model and with another."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer

import tiny_screen
from commanded import outcome
from running import PROFILE
from servers import ServerProcess, post, wait_until
from service import audit_packing
from service.commands.replay import replay
from softverifier import RewardClient

Run = Callable[..., tuple[int, str]]
YES = "<think>It may well be so in these cells.</think><answer>yes</answer>"
NO = YES.replace("yes", "no")


@pytest.fixture
def run() -> Run:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(replay)
    app.callback()(lambda: None)  # so that the command keeps its name

    return partial(outcome, app)


def item(i: int, **more: Any) -> dict[str, Any]:
    task = {
        "type": "perturbation.de",
        "perturbation": f"P{i % 20}",
        "gene": f"R{i % 37}",
        "cell_line": "k562",
    }
    answer = YES if i % 3 else NO
    return {"id": i, "group": f"g{i // 8}", "completion": answer, "task": task, **more}


SETTINGS = """
[starter]
enabled = false
[work]
warm = false
[profiles]
folder = "profiles"
[[models]]
path = "{model}"
name = "screen"
[audit]
path = "audit.jsonl"
completions = {completions}
"""


class Site:
    """A server with its model and log, and a second model that could take its place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "audit.jsonl"
        for name, seed in (("first", 0), ("second", 1)):
            tiny_screen.write(folder / name, tiny_screen.fitted(seed), name=name)
        (folder / "profiles").mkdir()
        (folder / "profiles" / "soft.toml").write_text(PROFILE)
        truth = PROFILE.replace('verifier = "perturbation"\nmodel = "*"\nscore = "prob"\n', "")
        truth = truth.replace('name = "perturbation.de"\n', 'name = "label"\nverifier = "label"\n')
        (folder / "profiles" / "hard.toml").write_text(truth)
        self.first = self._config("first")
        self.second = self._config("second")

    def _config(self, name: str) -> Path:
        path = self.folder / f"{name}.toml"
        text = SETTINGS.format(model=self.folder / name, completions="true")
        path.write_text(text.replace('"profiles"', f'"{self.folder / "profiles"}"'))
        return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A log of 124 lines: both wires, two profiles, every status."""
    made = Site(tmp_path_factory.mktemp("replayed"))
    server = ServerProcess(made.folder, "", "--config", str(made.first)).start()
    try:
        context = {"run": "a1", "step": 3, "split": "train"}
        unusual = [
            item(100, completion="what?"),
            item(101, task={**item(0)["task"], "perturbation": "NOBODY"}),
            item(102, completion=[{"role": "assistant", "content": YES}]),
            item(103, prompt="q?\n<think>", completion=YES.removeprefix("<think>")),
        ]
        with RewardClient(server.url, profile="soft") as client:
            client.score([item(i) for i in range(60)], context=context)
        with RewardClient(server.grpc_url, profile="soft") as client:
            client.score([item(i, prompt="q?") for i in range(40, 80)] + unusual, context=context)
        hard = [item(i, truth="yes") for i in range(20)]
        body = {"profile": "hard", "context": {"run": "b"}, "items": hard}
        assert post(f"{server.url}/v1/score", json=body).status_code == 200
        wait_until(lambda: made.log.read_text().count("\n") == 124, 10, "not all is logged")
    finally:
        server.stop()
    return made


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def kinds(folder: Path) -> dict[str, int]:
    return {kind: number for kind, number in report(folder)["kinds"].items() if number}


def test_the_same_models_give_every_reward_again_to_the_last_bit(
    run: Run, site: Site, tmp_path: Path
) -> None:
    code, said = run("replay", site.log, "--config", site.first, "--out", tmp_path / "r")[0:2]
    assert code == 0, said
    assert kinds(tmp_path / "r") == {"equal": 124}
    assert "equal to the last bit" in said
    rows = [json.loads(line) for line in (tmp_path / "r" / "rows.jsonl").read_text().splitlines()]
    assert {row["given"]["status"] for row in rows} == {"ok", "invalid", "abstain"}
    assert len({row["given"]["reward"] for row in rows}) > 20
    assert not (tmp_path / "r" / "report.svg").exists()
    assert run("replay", site.log, "--config", site.first, "--out", tmp_path / "r")[0] == 0
    assert len((tmp_path / "r" / "rows.jsonl").read_text().splitlines()) == 124


def test_another_model_is_told_with_what_it_moves(run: Run, site: Site, tmp_path: Path) -> None:
    out = tmp_path / "r"
    code, said = run("replay", site.log, "--config", site.second, "--out", out)
    assert code == 0, said
    found = kinds(out)
    assert found["changed"] > 60
    assert found["equal"] >= 21  # the hard profile asks no model, and one answer was invalid
    whole = report(out)
    assert sum(whole["histogram_counts"]) == whole["scored"]
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    moved = [r["now"]["reward"] - r["given"]["reward"] for r in rows if r["kind"] == "changed"]
    assert whole["largest_difference"] == pytest.approx(max(moved, key=abs))
    assert whole["mean_difference"] == pytest.approx(sum(moved) / whole["scored"])
    assert -1 <= whole["spearman"] < 0.9
    assert whole["order"]["turned"] > 0
    (swap,) = [s for s in whole["swaps"] if s["items"] > 50]
    assert swap["what"].startswith("perturbation.de")
    assert swap["given"] != swap["now"]
    assert "ok OK" in said
    text = (out / "report.md").read_text()
    assert "| ok OK | ok OK |" in text
    assert (out / "report.svg").read_text().count("<svg") == 1
    arguments = ["replay", site.log, "--config", site.second, "--out", out, "--fail-on-change"]
    assert run(*arguments)[0] == 4


def test_another_profile_by_a_live_server(run: Run, site: Site, tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "", "--config", str(site.second)).start()
    try:
        out = tmp_path / "r"
        arguments = ["replay", site.log, "--url", server.url, "--out", out, "--run", "a1"]
        code, said = run(*arguments, "--profile", "soft", "--batch-size", 7)
        assert code == 0, said
        assert sum(kinds(out).values()) == 104
        assert kinds(out)["changed"] > 60
        code, said = run(*arguments, "--profile", "hard")
        assert (code, "another replay" in said) == (2, True)
        code, said = run(*arguments, "--profile", "hard", "--restart")
        assert code == 0
        assert kinds(out)["changed"] > 0  # no truth was sent: it abstains
        assert {c["now"] for c in report(out)["changes"]} >= {"abstain NO_TRUTH"}
    finally:
        server.stop()


def test_more_than_a_queue_holds_is_refused_and_goes_on_elsewhere(
    run: Run, site: Site, tmp_path: Path
) -> None:
    text = site.first.read_text().replace('name = "screen"', 'name = "screen"\nrun = "thread"')
    config, out = tmp_path / "full.toml", tmp_path / "r"
    config.write_text(f"{text}[batching]\nmax_queue = 1\n")
    code, said = run("replay", site.log, "--config", config, "--out", out, "--batch-size", 1)
    assert code == 0, said  # one at a time there is room
    shutil.rmtree(out)
    code, said = run("replay", site.log, "--config", config, "--out", out, "--batch-size", 30)
    assert code == 2
    assert "30 queries at once, its queue holds 1; send them in several requests" in said
    assert run("replay", site.log, "--config", site.first, "--out", out)[0] == 0
    assert kinds(out) == {"equal": 124}


def test_a_reward_that_differs_under_the_same_digests_is_an_alarm(
    run: Run, site: Site, tmp_path: Path
) -> None:
    lines = site.log.read_text().splitlines()
    forged = json.loads(lines[7])
    forged["reward"] = forged["reward"] + 2**-40
    part = json.loads(lines[8])
    part["components"][0]["p"] += 2**-50
    lines[7], lines[8] = json.dumps(forged), json.dumps(part)
    (tmp_path / "audit.jsonl").write_text("\n".join(lines) + "\n")
    out = tmp_path / "r"
    code, said = run("replay", tmp_path / "audit.jsonl", "--config", site.first, "--out", out)
    assert code == 3
    assert kinds(out) == {"equal": 122, "unequal": 2}
    examples = report(out)["unequal_examples"]
    assert [row["differs"] for row in examples] == [["reward"], ["perturbation.de.p"]]
    assert "must not be" in said


@pytest.mark.parametrize("cut", [1, 9, 40, 110], ids=str)
def test_it_goes_on_over_a_log_that_was_rotated_and_packed_meanwhile(
    run: Run, site: Site, tmp_path: Path, cut: int
) -> None:
    log, out = tmp_path / "audit.jsonl", tmp_path / "r"
    lines = site.log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:cut]))
    arguments = ["replay", log, "--config", site.first, "--out", out, "--batch-size", 8]
    assert run(*arguments)[0] == 0
    with (out / "rows.jsonl").open("a") as rows:
        rows.write('{"key": "half')  # it was killed
    first = tmp_path / "audit-000001.jsonl"
    first.write_text("".join(lines[: cut // 2]))
    audit_packing.pack(first, "parquet")
    (tmp_path / "audit-000002.jsonl.gz").write_bytes(
        gzip.compress("".join(lines[cut // 2 : 115]).encode())
    )
    log.write_text("".join(lines[115:]))
    assert run(*arguments)[0] == 0
    assert kinds(out) == {"equal": 124}
    ids = [json.loads(line)["id"] for line in (out / "rows.jsonl").read_text().splitlines()]
    assert ids == [json.loads(line)["id"] for line in lines]


def test_equal_items_of_one_request_are_told_apart(run: Run, site: Site, tmp_path: Path) -> None:
    line = json.loads(site.log.read_text().splitlines()[1])
    log, out = tmp_path / "a.jsonl", tmp_path / "r"
    log.write_text((json.dumps(line) + "\n") * 5)
    arguments = ["replay", log, "--config", site.first, "--out", out, "--batch-size", 2]
    assert run(*arguments)[0] == 0
    rows = (out / "rows.jsonl").read_text().splitlines(keepends=True)
    (out / "rows.jsonl").write_text("".join(rows[:3]))
    assert run(*arguments)[0] == 0
    assert kinds(out) == {"equal": 5}


def test_what_cannot_be_scored_again_is_counted_and_never_guessed(
    run: Run, site: Site, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in site.log.read_text().splitlines()[:6]]
    del lines[0]["completion"], lines[0]["item"]
    del lines[1]["item"]
    lines[2]["profile"] = "gone"
    lines[3] |= {"status": "error", "reason": "DEADLINE", "reward": None, "components": []}
    log = tmp_path / "a.jsonl"
    log.write_text("\n".join(map(json.dumps, lines)) + '\n{"torn": \n[]\n')
    code, said = run("replay", log, "--config", site.first, "--out", tmp_path / "r")
    assert code == 0, said
    expected = {"equal": 2, "error": 1, "no_completion": 1, "no_item": 1, "no_profile": 1}
    assert kinds(tmp_path / "r") == expected
    assert report(tmp_path / "r")["malformed"] == 2
    assert report(tmp_path / "r")["scored"] == 0
    assert "3 lines could not be scored again" in said
    assert "error DEADLINE" in said


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("", (), "no line"),
        ("{}\n", (), "none of 1 lines is of an audit log"),
        ("digests only", (), "none of 124 lines has its item; a server with audit.completions"),
        ("whole", ("--run", "nobody"), "no line of run 'nobody'"),
        ("whole", ("--profile", "rbio-mlpp"), "unknown profile 'rbio-mlpp'; did you mean"),
        ("whole", ("--profile", "soft@sha256:00"), "the request pins sha256:00"),
        ("whole", ("--url", "http://x"), "drop them or --url"),
    ],
    ids=["empty", "another file", "no completions", "run", "profile", "pin", "url"],
)
def test_mistakes_are_named(
    run: Run, site: Site, tmp_path: Path, text: str, more: tuple[str, ...], message: str
) -> None:
    log = tmp_path / "a.jsonl"
    if text in ("whole", "digests only"):
        lines = [json.loads(line) for line in site.log.read_text().splitlines()]
        for line in lines if text == "digests only" else []:
            del line["completion"], line["item"]
        text = "\n".join(map(json.dumps, lines))
    log.write_text(text)
    code, said = run("replay", log, "--config", site.first, "--out", tmp_path / "r", *more)
    assert code == 2
    assert message in said


def test_a_log_that_lost_its_place_is_refused(run: Run, site: Site, tmp_path: Path) -> None:
    log, out = tmp_path / "a.jsonl", tmp_path / "r"
    shutil.copy(site.log, log)
    assert run("replay", log, "--config", site.first, "--out", out)[0] == 0
    log.write_text("".join(site.log.read_text().splitlines(keepends=True)[:50]))
    code, said = run("replay", log, "--config", site.first, "--out", out)
    assert (code, "not in the log any more" in said) == (2, True)
    code, said = run("replay", tmp_path / "none.jsonl", "--config", site.first, "--out", out)
    assert code == 2
