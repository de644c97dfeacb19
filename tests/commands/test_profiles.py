"""``soft-verifier profiles``: readable lists, requests that work, a handbook that is current."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.commands.profiles import app
from service.errors import ServiceError
from service.rewards.errors import ProfileFault
from service.rewards.profiles import load_profiles
from service.rewards.specimens import as_obo, as_table

Run = Callable[..., tuple[int, str]]
OWN = """
extends = "rbio-exp"
description = "of my own"
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Exit code and everything printed, in a folder without settings."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: Any) -> tuple[int, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(result.exception, ServiceError | ProfileFault):
            return 2, str(result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return call


def config(folder: Path) -> Path:
    (folder / "go.obo").write_text(as_obo("go"))
    (folder / "go.tsv").write_text(as_table())
    file = folder / "sv.toml"
    file.write_text('[knowledge.go]\nontology = "go.obo"\nannotations = ["go.tsv"]\n')
    return file


def test_the_list_has_every_profile_within_80_columns(run: Run) -> None:
    code, said = run()
    assert code == 0
    assert [line for line in said.splitlines() if len(line) > 80] == []
    for name, profile in load_profiles().items():
        assert f"  {name} " in said
        assert all(word in said for word in profile.description.split())


def test_what_a_profile_lacks_is_said_once_and_goes_with_the_settings(
    run: Run, tmp_path: Path
) -> None:
    without = run()[1]
    assert without.count("LACKS knowledge 'go'") > 3
    with_go = run("--config", config(tmp_path))[1]
    assert with_go.count("LACKS knowledge 'go'") == 0
    assert with_go.count("LACKS knowledge 'mondo'") == without.count("LACKS knowledge 'mondo'") > 0


def test_profiles_of_a_folder_are_listed_and_shown(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine-exp.toml").write_text(OWN)
    assert "of my own" in run("--folder", folder)[1]
    for arguments in (("--folder", folder, "show"), ("show", "--folder", folder)):
        code, said = run(*arguments, "mine-exp")
        assert code == 0
        assert json.loads(said)["description"] == "of my own"


@pytest.mark.parametrize("name", load_profiles())
def test_show_prints_the_recipe_and_a_request(run: Run, name: str) -> None:
    code, said = run("show", name)
    shown = json.loads(said)
    assert code == 0
    assert shown["name"] == name
    assert shown["recipe"]["component"]
    (item,) = shown["example"]["items"]
    assert shown["example"]["profile"] == name
    assert item["completion"]


MISTAKES: dict[str, tuple[list[Any], str]] = {
    "unknown profile": (["show", "rbio-mpl"], "did you mean 'rbio-mlp'"),
    "no such folder": (["--folder", "nowhere"], "no such folder"),
    "no such settings": (["--config", "nowhere.toml"], "nowhere.toml does not exist"),
}


@pytest.mark.parametrize(("arguments", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(run: Run, arguments: list[Any], words: str) -> None:
    code, said = run(*arguments)
    assert code == 2
    assert words in said


def test_knowledge_that_cannot_be_read_is_named(run: Run, tmp_path: Path) -> None:
    file = config(tmp_path)
    (tmp_path / "go.obo").write_text("no ontology at all")
    code, said = run("--config", file)
    assert code == 2
    assert "knowledge.go" in said
    assert "go.obo" in said


def test_the_handbook_is_written_checked_and_printed(run: Run) -> None:
    assert run("docs", "--check")[0] == 1
    assert run("docs")[0] == 0
    assert run("docs", "--check")[0] == 0
    printed = run("docs", "--out", "-")[1]
    assert printed == Path("docs/profiles.md").read_text()
    Path("docs/profiles.md").write_text(printed + "edited")
    assert run("docs", "--check")[0] == 1
