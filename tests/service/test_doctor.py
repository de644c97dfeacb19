from __future__ import annotations

from pathlib import Path

import pytest
import typer

from servers import RedisProcess
from service.commands.doctor import doctor, examine
from service.rewards.specimens import as_obo, as_table


def states(tmp_path: Path, text: str) -> dict[str, tuple[str, str, str]]:
    file = tmp_path / "soft-verifier.toml"
    file.write_text(text)
    return {f.what: (f.state, f.found, f.advice) for f in examine(file, [])}


def test_a_healthy_machine(tmp_path: Path, redis_server: RedisProcess) -> None:
    text = f"""
[starter]
enabled = false
[server]
http_port = 0
grpc_port = 0
[cache]
redis_url = "{redis_server.url}"
"""
    found = states(tmp_path, text)
    assert [what for what, (state, _, _) in found.items() if state == "fault"] == []
    assert "256 keys in" in found["redis"][1]
    assert found["device"][1]
    assert found["torch"][1].startswith("2.")


def test_knowledge_is_checked_and_what_profiles_lack_is_said(tmp_path: Path) -> None:
    (tmp_path / "go.obo").write_text(as_obo("go"))
    (tmp_path / "go.tsv").write_text(as_table())
    text = f"""
[starter]
enabled = false
[knowledge.go]
ontology = "{tmp_path}/go.obo"
annotations = ["{tmp_path}/go.tsv"]
"""
    found = states(tmp_path, text)
    assert found["knowledge go"][0] == "ok"
    assert "terms" in found["knowledge go"][1]
    assert "bioreason-pro-go" in found["profiles"][1]
    state, names, advice = found["profiles that lack knowledge 'mondo'"]
    assert state == "note"
    assert "bioreason-kegg" in names
    assert "[knowledge.mondo]" in advice
    assert "profiles that lack knowledge 'go'" not in found


def test_annotations_under_which_no_gene_is_found_are_noted(tmp_path: Path) -> None:
    (tmp_path / "go.obo").write_text(as_obo("go"))
    rows = "".join(f"P{i:05d}\tGO:0006457\n" for i in range(20))
    (tmp_path / "go.tsv").write_text(rows)
    text = f"""
[starter]
enabled = false
[knowledge.go]
ontology = "{tmp_path}/go.obo"
annotations = ["{tmp_path}/go.tsv"]
"""
    found = states(tmp_path, text)
    assert found["knowledge go"][0] == "ok"
    state, said, advice = found["annotations of go"]
    assert state == "note"
    assert "by accession (P00000)" in said
    assert "goa_human.gaf" in advice


def test_what_stands_in_brackets_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    file = tmp_path / "soft-verifier.toml"
    file.write_text("[starter]\nenabled = false\n")
    with pytest.raises(typer.Exit):
        doctor(config=file)
    said = capsys.readouterr().out
    for words in ("set [knowledge.mondo] with", "mondo.obo", "set [knowledge.go] with"):
        assert words in said


FAULTS = {
    "unknown key": ("[server]\nhttp_prt = 1", "settings", "http_port"),
    "redis away": ("[cache]\nredis_url='redis://127.0.0.1:1'", "redis", "does not answer"),
    "redis of another kind": ("[cache]\nredis_url='http://x'", "redis", "scheme must be"),
    "no such model": ("[[models]]\npath='nowhere'", "model nowhere", "no checkpoint at nowhere"),
    "no such gene table": ("[genes]\ntables=['nowhere.tsv']", "genes", "nowhere.tsv"),
    "no such ontology": (
        "[knowledge.go]\nontology='nowhere.obo'",
        "knowledge go",
        "nowhere.obo",
    ),
    "address is not ours": ("[server]\nhost='192.0.2.1'", "http_port", "192.0.2.1"),
}


@pytest.mark.parametrize(("text", "what", "says"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found_and_says_what_to_do(
    tmp_path: Path, text: str, what: str, says: str
) -> None:
    state, found, advice = states(tmp_path, text)[what]
    assert state == "fault"
    assert says in found
    assert advice
