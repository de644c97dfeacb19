from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from service import settings
from service.control import BEAT_S
from service.errors import StartupFault
from service.process_settings import LEAST_HANG_S


def load(tmp_path: Path, text: str, **overrides: object) -> settings.Settings:
    file = tmp_path / "soft-verifier.toml"
    file.write_text(text)
    return settings.load(file, overrides or None)  # type: ignore[arg-type]


def test_the_command_line_goes_over_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "[server]\nhttp_port = 1\ngrpc_port = 1\nworkers = 1\n"
    monkeypatch.setenv("SOFT_VERIFIER_SERVER__HTTP_PORT", "2")
    monkeypatch.setenv("SOFT_VERIFIER_SERVER__GRPC_PORT", "2")
    loaded = load(tmp_path, text, server={"http_port": 3})
    assert (loaded.server.http_port, loaded.server.grpc_port, loaded.server.workers) == (3, 2, 1)


def test_lists_and_tables_come_from_the_environment_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFT_VERIFIER_MODELS", '[{"family": "fake", "options": {"nan": "X"}}]')
    monkeypatch.setenv("SOFT_VERIFIER_PROFILES__MODELS", '{"rbio-mlp": "fake"}')
    monkeypatch.setenv("SOFT_VERIFIER_GENES__TABLES", '["a.tsv"]')
    loaded = load(tmp_path, "")
    assert loaded.models[0].options == {"nan": "X"}
    assert loaded.profiles.models == {"rbio-mlp": "fake"}
    assert loaded.genes.tables == [Path("a.tsv")]


def test_knowledge_comes_from_the_file_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFT_VERIFIER_KNOWLEDGE__CL__ONTOLOGY", "cl.obo")
    text = "[knowledge.go]\nontology = 'go.obo'\nannotations = ['a.gaf']\nrelations = ['is_a']\n"
    loaded = load(tmp_path, text, server={"http_port": 3})
    assert loaded.knowledge["go"].annotations == [Path("a.gaf")]
    assert loaded.knowledge["go"].relations == ["is_a"]
    assert loaded.knowledge["cl"].ontology == Path("cl.obo")
    assert loaded.knowledge["cl"].relations == ["is_a", "part_of"]


def test_no_file_is_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.load().server.host == "127.0.0.1"


def test_a_folder_that_is_listed_is_not_listed_twice(tmp_path: Path) -> None:
    loaded = load(tmp_path, f'[[models]]\npath = "{tmp_path}/a"\n')
    more = settings.with_models(loaded, [tmp_path / "b" / ".." / "a", tmp_path / "b"])
    assert [entry.path for entry in more.models] == [tmp_path / "a", tmp_path / "b"]
    again = settings.with_models(loaded, [loaded.starter.path])
    assert again.models == loaded.models


def test_settings_are_frozen(tmp_path: Path) -> None:
    loaded = load(tmp_path, "")
    with pytest.raises(ValueError, match="frozen"):
        loaded.server.http_port = 1  # type: ignore[misc]


FAULTS = {
    "top level": ("servr = 1", "servr: unknown key; did you mean 'server'"),
    "in a section": ("[cache]\nredis = 'x'", "cache.redis: unknown key; did you mean 'redis_"),
    "in a model": ("[[models]]\nfamly = 'x'", "models.0.famly: unknown key; did you mean 'family'"),
    "in knowledge": (
        "[knowledge.go]\nontolgy = 'go.obo'",
        "knowledge.go.ontolgy: unknown key; did you mean 'ontology'",
    ),
    "knowledge without a file": ("[knowledge.go]", "knowledge.go.ontology: Field required"),
    "no budget": ("[work]\nbudget_ms = 0", "work.budget_ms: Input should be greater than"),
    "wrong type": ("[limits]\nmax_items = 'many'", "limits.max_items: Input should be a valid int"),
    "out of range": ("[limits]\nmax_items = 0", "limits.max_items: Input should be greater than"),
    "a hang of less than a beat": (
        "[processes]\nhang_s = 0.5",
        "processes.hang_s: Value error, should be 0 (never) or at least 3",
    ),
    "no choice": ("[batching]\n[[models]]\nrun = 'x'", "models.0.run: Input should be 'auto'"),
    "not TOML": ("[server", "cannot be read"),
}


@pytest.mark.parametrize(("text", "says"), FAULTS.values(), ids=FAULTS)
def test_a_fault_names_the_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(StartupFault) as refused:
        load(tmp_path, text)
    assert says in refused.value.message


@pytest.mark.parametrize("hang_s", [0, LEAST_HANG_S])
def test_who_is_well_is_never_taken_to_hang(tmp_path: Path, hang_s: float) -> None:
    assert load(tmp_path, f"[processes]\nhang_s = {hang_s}").processes.hang_s == hang_s
    assert LEAST_HANG_S >= 3 * BEAT_S


def test_a_variable_of_no_section_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFT_VERIFIER_CASH__REDIS_URL", "redis://x")
    with pytest.raises(StartupFault, match="no section 'cash'; did you mean 'cache'"):
        load(tmp_path, "")


def test_every_setting_says_what_it_is() -> None:
    for name, field in settings.Settings.model_fields.items():
        entries = {"models": settings.Model, "knowledge": settings.Knowledge}
        section = entries.get(name, field.annotation)
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        undescribed = [
            f"{name}.{key}" for key, f in section.model_fields.items() if not f.description
        ]
        assert not undescribed
