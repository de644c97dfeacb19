"""The command line, and a running server under attack."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from running import RunningService, write_config
from service.cli import application
from service.redteam.rows import ROWS


def call(*arguments):
    return CliRunner().invoke(application(), ["redteam", *map(str, arguments)])


def test_tables_end_with_a_summary():
    shown = call("rbio-mlp", "rbio-released")
    assert shown.exit_code == 0, shown.output
    assert "glued think blocks" in shown.stdout
    assert "row 17, 18 does not apply: its answers are no molecules" in shown.stdout
    assert "known a polished lie beside the plain truth" in shown.stdout
    assert shown.stdout.rstrip().endswith("none of them pays")


def test_json_is_for_machines_and_the_same_each_time():
    first, second = (json.loads(call("rbio-mlp", "--json", "--seed", 7).stdout) for _ in range(2))
    (report,) = first
    assert report["holds"]
    assert sorted(report["rows"], key=int) == [str(row) for row in ROWS]
    assert report["rows"]["1"] == "tried"
    assert report["rows"]["17"] == "its answers are no molecules"
    families = {line["name"]: line for line in report["families"]}
    assert families["glued think blocks"]["rows"] == [1]
    assert families["another class"]["earned"] < families["another class"]["honest"]
    assert families["padded and trivial molecules"]["verdict"] == "does not apply"
    for one in (report, second[0]):
        del one["seconds"]
    assert report == second[0]


def test_rounds_add_variations():
    few, many = (
        json.loads(call("rbio-mlp", "--json", "--rounds", n).stdout)[0]["attacks"] for n in (1, 4)
    )
    assert many > 2 * few


LACKING = """
tasks = ["label"]
[extract]
knowledge = "nowhere"
[[component]]
name = "label"
verifier = "label"
knowledge = "nowhere"
"""
MISTAKES = {
    "no profile": ((), "name a profile, or --all"),
    "unknown": (("rbio-mpl",), "did you mean 'rbio-mlp'"),
    "no folder": (("rbio-mlp", "--folder", "/nowhere"), "/nowhere: no such folder"),
    "needs knowledge": (
        ("mine", "--folder", "FOLDER"),
        "mine was not attacked: knowledge 'nowhere'",
    ),
    "no server": (("rbio-mlp", "--url", "http://127.0.0.1:9"), "127.0.0.1:9"),
}


@pytest.mark.parametrize(("arguments", "text"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told(arguments, text, monkeypatch, capsys, tmp_path):
    from service import cli

    (tmp_path / "mine.toml").write_text(LACKING)
    arguments = [argument.replace("FOLDER", str(tmp_path)) for argument in arguments]
    monkeypatch.setattr("sys.argv", ["soft-verifier", "redteam", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    running = RunningService(write_config(folder)).start()
    yield running, folder / "profiles"
    running.stop()


@pytest.mark.parametrize("profile", ["soft", "rbio-released"])
def test_a_running_server_under_attack(server, profile):
    running, folder = server
    shown = call(profile, "--url", running.http, "--folder", folder, "--json", "--rounds", 1)
    assert shown.exit_code == 0, shown.output
    (report,) = json.loads(shown.stdout)
    assert report["cases"] > 1
    assert report["attacks"] > 500
    assert report["holds"], report


def test_a_server_that_does_not_serve_a_profile_says_so(server):
    running, folder = server
    shown = call("soft", "rbio-mlp", "--url", running.http, "--folder", folder, "--json")
    assert shown.exit_code == 0, shown.output
    served, other = json.loads(shown.stdout)
    assert served["holds"]
    assert served["skipped"] is None
    assert "needs a world model" in other["skipped"]


def test_settings_name_the_folder(tmp_path):
    config = write_config(tmp_path)
    shown = call("soft", "--config", config)
    assert shown.exit_code == 0, shown.output
    assert "none of them pays" in shown.stdout
