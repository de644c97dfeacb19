"""Which knowledge gave a reward: told by the digest, alike on both wires and in the catalogue."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from complete_server import complete_server
from servers import ServerProcess, get, post
from service.rewards.core import Item
from service.rewards.library import Knowledge, Library, lacks_of
from service.rewards.profiles import load_profiles
from service.rewards.specimens import as_obo, as_table, specimen_library
from softverifier import RewardClient
from worldmodels.ontology_files import load

PROFILES = load_profiles(library=specimen_library())
SAYS = "<gene_info>{}: protein folding</gene_info><think>So it is.</think><answer>yes</answer>"


def item(name: str) -> dict[str, Any]:
    return {"id": "x", **PROFILES[name].recipe.examples[0].item()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = complete_server(tmp_path_factory.mktemp("provenance")).start()
    yield running
    running.stop()


LOOKED_UP = {
    "a set of terms": ("bioreason-pro-go", "go"),
    "sections about genes": ("rbio-go", "go"),
    "sections beside a world model": ("rbio-go+exp", "go"),
    "a disease": ("bioreason-kegg", "mondo"),
    "a cell type": ("posttrain-rna", "cl"),
}


@pytest.mark.parametrize("wire", ["url", "grpc_url"])
@pytest.mark.parametrize(("profile", "knowledge"), LOOKED_UP.values(), ids=LOOKED_UP)
def test_a_component_names_the_knowledge_that_the_catalogue_shows(
    server: ServerProcess, wire: str, profile: str, knowledge: str
) -> None:
    shown = get(f"{server.url}/v1/profiles/{profile}").json()["knowledge"]
    digest = {entry["name"]: entry["digest"] for entry in shown}[knowledge]
    assert digest.startswith("sha256:")
    with RewardClient(getattr(server, wire)) as client:
        (reward,) = client.score([item(profile)], profile=profile)
    assert reward.status == "ok"
    named = {(part.model, part.digest) for part in reward.components}
    assert (f"knowledge:{knowledge}", digest) in named


def test_a_class_that_the_request_lists_is_looked_up_nowhere(server: ServerProcess) -> None:
    fields = item("bioreason-vep")
    found = post(f"{server.url}/v1/score", json={"profile": "bioreason-vep", "items": [fields]})
    assert [part["model"] for part in found.json()["results"][0]["components"]] == [None]


def test_a_gene_without_annotations_is_named(server: ServerProcess) -> None:
    task = {"type": "perturbation.de", "perturbation": "NOSUCH1", "gene": "NOSUCH2"}
    asked = {"completion": SAYS.format("NOSUCH1"), "task": task, "truth": "yes"}
    for wire in (server.url, server.grpc_url):
        with RewardClient(wire) as client:
            (reward,) = client.score([asked], profile="rbio-go-f")
        assert (reward.status, reward.reason) == ("abstain", "NO_ANNOTATION")
        assert reward.message is not None
        for words in ("[knowledge.go] say nothing of NOSUCH1, NOSUCH2", "molecular_function"):
            assert words in reward.message
        assert any(part.model == "knowledge:go" and part.digest for part in reward.components)


OBO = as_obo("go").replace("format-version: 1.2\n", "format-version: 1.2\ndata-version: {}\n", 1)
CHANGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "another release": (OBO.format("2"), as_table(), ("is_a", "part_of")),
    "another annotation": (OBO.format("1"), f"{as_table()}NEW\tGO:0006457\n", ("is_a", "part_of")),
    "other relations": (OBO.format("1"), as_table(), ("is_a",)),
    "no annotations": (OBO.format("1"), "", ("is_a", "part_of")),
}


def known(folder: Path, obo: str, table: str, relations: tuple[str, ...]) -> Knowledge:
    (folder / "go.obo").write_text(obo)
    (folder / "go.tsv").write_text(table)
    tables = [folder / "go.tsv"] if table else []
    return Knowledge("go", *load(folder / "go.obo", tables, relations))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_can_change_a_reward_changes_the_digest(tmp_path: Path, change: Any) -> None:
    before = known(tmp_path, OBO.format("1"), as_table(), ("is_a", "part_of"))
    again = known(tmp_path, OBO.format("1"), as_table(), ("is_a", "part_of"))
    assert (before.digest, before.version) == (again.digest, "1")
    assert known(tmp_path, *change).digest != before.digest


def test_other_annotations_give_another_reward_and_another_digest(tmp_path: Path) -> None:
    more = "".join(f"G{i}\tGO:0006457\n" for i in range(500))
    fields = item("bioreason-pro-go")
    found = []
    for table in (as_table(), as_table() + more):
        library = Library(
            knowledge={"go": known(tmp_path, OBO.format("1"), table, ("is_a", "part_of"))}
        )
        profile = load_profiles(library=library)["bioreason-pro-go"]
        asked = msgspec.convert({**fields, "truth": ["GO:0006457", "GO:0005509"]}, Item)
        result = profile.compose(asked, profile.read(asked), ())
        (part,) = [part for part in result.components if part.model == "knowledge:go"]
        found.append((result.reward, part.digest, profile.digest))
        assert part.version == "1"
    (one, first, pin), (other, second, same_pin) = found
    assert one != other
    assert first != second
    assert pin == same_pin  # a pin does not cover knowledge


LACKS = {
    "mondo": ("mondo", False, "an ontology (mondo.obo)"),
    "cl": ("cl", False, "an ontology (cl-basic.obo)"),
    "go": ("go", False, "an ontology (go-basic.obo) and annotations (goa_human.gaf)"),
    "go with annotations": ("go", True, "(go-basic.obo) and annotations (goa_human.gaf)"),
    "one's own": ("mine", False, "[knowledge.mine] with an ontology (OBO) in"),
    "one's own with annotations": ("mine", True, "an ontology (OBO) and annotations (GAF)"),
}


@pytest.mark.parametrize(("name", "annotated", "says"), LACKS.values(), ids=LACKS)
def test_what_lacks_names_the_usual_files(name: str, annotated: bool, says: str) -> None:
    (lack,) = lacks_of(name, Library(), annotated=annotated)
    assert says in lack


@pytest.mark.parametrize("name", ["bioreason-kegg", "bioreason-pro-go", "posttrain-rna", "rbio-go"])
def test_a_lack_is_said_once(name: str) -> None:
    lacks = load_profiles(library=Library())[name].lacks
    assert len(lacks) == 1
    assert lacks[0].count("server's configuration") == 1


@pytest.mark.parametrize("url", [[], ["--url", "http://127.0.0.1:9"]], ids=["here", "by a server"])
def test_red_team_of_a_profile_that_only_the_server_has(url: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service", "redteam", "theirs", *url],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "300"},
    )
    assert done.returncode == 2
    assert "no profile 'theirs'" in done.stderr
    assert ("--folder" in done.stderr) is bool(url)
