"""Canaries: a model's file overwritten under a live server is drift, another model is none."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

import tiny_screen
from commanded import outcome
from running import PROFILE
from servers import RedisProcess, ServerProcess, get, post, wait_until
from service import canaries
from service.audit_lines import Judge
from service.canaries import Baseline, Canary, judged
from service.commands.canaries import app
from service.errors import StartupFault
from worldmodels import registry
from worldmodels.genes import GeneResolver
from worldmodels.tables.planning import Choice
from worldmodels.tables.tabulating import tabulate

GOOD = "<think>It may well be so in these cells.</think><answer>yes</answer>"
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run() -> Run:
    return partial(outcome, app)


def item(i: int, **more: Any) -> dict[str, Any]:
    task = {"type": "perturbation.de", "perturbation": f"P{i}", "gene": f"R{i}"}
    return {"id": f"c{i}", "completion": GOOD, "task": {**task, "cell_line": "k562"}, **more}


def build(folder: Path, name: str, seed: int) -> Path:
    """A table, for it looks every answer up in its mapped files."""
    genes = GeneResolver.as_they_are()
    source = tiny_screen.write(folder / f"source {seed} of {name}", tiny_screen.fitted(seed))
    model = registry.open_folder(source.path, genes=genes)
    made = tabulate(model, folder / name, Choice(), genes, source=source)
    return made.path


def weights_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.npy")}


def overwrite(folder: Path, weights: dict[str, bytes]) -> dict[str, bytes]:
    """In place, as the server has the files mapped; what was there."""
    before = weights_of(folder)
    assert {name: len(data) for name, data in before.items()} == {
        name: len(data) for name, data in weights.items()
    }
    for name, data in weights.items():
        with (folder / name).open("r+b") as file:
            file.write(data)
    return before


SETTINGS = """
[starter]
enabled = false
[work]
warm = false
[profiles]
folder = "{folder}/profiles"
[[models]]
path = "{folder}/model"
name = "screen"
run = "{run}"
[canaries]
path = "{folder}/canaries.jsonl"
profiles = ["soft"]
every_min = 0.005
"""


class Site:
    """A folder with a model, the items to record, and the settings of a server."""

    def __init__(self, folder: Path, run: str = "auto", more: str = "") -> None:
        self.folder = folder
        self.model = build(folder, "model", 0)
        (folder / "profiles").mkdir()
        (folder / "profiles" / "soft.toml").write_text(PROFILE)
        rows = [item(i) for i in range(12)] + [item(20, completion="what?"), item(21, id=None)]
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        self.config = folder / "sv.toml"
        self.config.write_text(SETTINGS.format(folder=folder, run=run) + more)
        self.server = ServerProcess(folder, "", "--config", str(self.config))

    def readyz(self) -> dict[str, Any]:
        found: dict[str, Any] = get(f"{self.server.url}/readyz").json()
        return found

    def becomes(self, state: str) -> dict[str, Any]:
        """Wait for a state; two rounds, so that nothing of an earlier one is meant."""
        wait_until(
            lambda: self.readyz()["canaries"]["state"] == state,
            15,
            f"not {state}: {self.readyz() if self.server.process else ''}",
        )
        found: dict[str, Any] = self.readyz()["canaries"]
        return found


@pytest.fixture
def site(tmp_path: Path, run: Run) -> Iterator[Site]:
    made = Site(tmp_path)
    arguments = ["record", tmp_path / "rows.jsonl", "--profile", "soft", "--model", made.model]
    config = tmp_path / "record.toml"
    config.write_text(f'[starter]\nenabled = false\n[profiles]\nfolder = "{tmp_path}/profiles"\n')
    code, said = run(*arguments, "--config", config, "--out", tmp_path / "canaries.jsonl")
    assert code == 0, said
    assert "wrote 14 canaries" in said
    yield made
    made.server.stop()


def test_a_file_overwritten_under_the_server_turns_red_and_back(site: Site, run: Run) -> None:
    site.server.start()
    url = site.server.url
    green = site.becomes("green")
    assert green["counts"] == {"same": 15}
    assert green["drifted"] == []
    before = overwrite(site.model, weights_of(build(site.folder, "other", 1)))
    red = site.becomes("red")
    assert red["counts"]["drifted"] >= 12
    first = red["drifted"][0]
    assert first["profile"] == "soft"
    assert first["given"]["reward"] != first["now"]["reward"]
    assert first["given"]["components"][0]["digest"] == first["now"]["components"][0]["digest"]
    assert first["swaps"] == []
    assert get(f"{url}/readyz").status_code == 200
    text = get(f"{url}/metrics").text
    assert "softverifier_canaries_red 1.0" in text
    assert 'softverifier_canaries{profile="soft",state="drifted"}' in text
    # trainers' items are theirs alone
    assert "softverifier_items_total{" not in text
    log = site.server.log()
    assert "another reward under the same digests" in log
    assert str(first["given"]["reward"]) in log
    assert str(first["now"]["reward"]) in log
    assert first["now"]["components"][0]["digest"] in log
    overwrite(site.model, before)
    site.becomes("green")
    assert "softverifier_canaries_red 0.0" in get(f"{url}/metrics").text
    assert "its reward is back" in site.server.log()


def test_another_model_is_a_stated_change_and_drift_is_seen_from_there(
    site: Site, run: Run
) -> None:
    shutil.rmtree(site.model)
    build(site.folder, "model", 1)  # the folder was swapped; the server starts with what is there
    site.server.start()
    green = site.becomes("green")
    assert green["counts"]["restated"] >= 12
    (swap,) = green["restated"]
    assert swap["given"] != swap["now"]
    assert "another than recorded" in site.server.log()
    assert "softverifier_canaries_red 0.0" in get(f"{site.server.url}/metrics").text
    code, said = run("check", site.folder / "canaries.jsonl", "--url", site.server.url)
    assert code == 0
    assert "restated: judged by another recipe or model than recorded" in said
    overwrite(site.model, weights_of(build(site.folder, "third", 2)))
    assert site.becomes("red")["counts"]["drifted"] >= 12


def test_a_folder_swapped_by_renaming_changes_nothing_under_a_running_server(site: Site) -> None:
    site.server.start()
    site.becomes("green")
    build(site.folder, "new", 1)
    site.model.rename(site.folder / "old")
    (site.folder / "new").rename(site.model)
    checked = site.readyz()["canaries"]["checked"]
    wait_until(lambda: site.readyz()["canaries"]["checked"] > checked, 10, "no further round")
    assert site.readyz()["canaries"]["counts"] == {"same": 15}


def test_a_cache_that_holds_what_no_model_said_is_drift(tmp_path: Path, run: Run) -> None:
    store = RedisProcess(tmp_path).start()
    more = f'on_drift = "unready"\n[cache]\nmemory_entries = 0\nredis_url = "{store.url}"\n'
    site = Site(tmp_path, "thread", more + 'redis_mode = "always"\n')
    config = tmp_path / "record.toml"
    config.write_text(f'[starter]\nenabled = false\n[profiles]\nfolder = "{tmp_path}/profiles"\n')
    arguments = ["record", tmp_path / "rows.jsonl", "--profile", "soft", "--model", site.model]
    assert run(*arguments, "--config", config, "--out", tmp_path / "canaries.jsonl")[0] == 0
    try:
        site.server.start()
        site.becomes("green")
        with redis.Redis.from_url(store.url) as client:
            wait_until(lambda: client.dbsize() >= 13, 10, "nothing is cached")
            keys = sorted(client.keys())
            values = client.mget(keys)
            client.mset(dict(zip(keys, [*values[1:], values[0]], strict=True)))
        red = site.becomes("red")
        assert {finding["place"] for finding in red["drifted"]} == {"cache"}
        reply = get(f"{site.server.url}/readyz")
        assert (reply.status_code, reply.json()["status"]) == (503, "drifted")
        body = {"profile": "soft", "items": [item(1)]}
        assert post(f"{site.server.url}/v1/score", json=body).status_code == 200
    finally:
        site.server.stop()
        store.kill()


# --- what became of one --------------------------------------------------------------------------


def baseline(**more: Any) -> Baseline:
    part = Judge("de", 0.7, 0.7, 0.4, "OK", "screen", "sha256:m")
    fields = {"status": "ok", "reason": "OK", "reward": 0.7, "weight": 1.0, "answer": "yes"}
    made = {**fields, "profile_digest": "sha256:p", "components": [part], **more}
    return Baseline(**made)


def part(**more: Any) -> list[Judge]:
    return [msgspec.structs.replace(baseline().components[0], **more)]


@pytest.mark.parametrize(
    ("now", "state"),
    [
        ({}, "same"),
        ({"reward": 0.7 + 5e-7}, "same"),
        ({"reward": 0.7 + 5e-6}, "drifted"),
        ({"reward": None, "status": "abstain", "reason": "UNKNOWN_GENE"}, "drifted"),
        ({"components": part(p=0.6)}, "drifted"),
        ({"components": part(p=None)}, "drifted"),
        ({"components": part(p=0.6, digest="sha256:new")}, "restated"),
        ({"components": part(digest="sha256:new")}, "restated"),
        ({"profile_digest": "sha256:q", "reward": 0.1}, "restated"),
        ({"components": []}, "restated"),
        ({"status": "error", "reason": "DEADLINE", "reward": None}, "unanswered"),
        ({"status": "error", "reward": None, "profile_digest": "sha256:q"}, "unanswered"),
        ({"answer": "no"}, "drifted"),
    ],
    ids=[
        "equal", "within tolerance", "beyond", "abstains", "p", "no p", "new model, other p",
        "new model", "new recipe", "judge gone", "late", "late and new", "answer",
    ],
)  # fmt: skip
def test_states(now: dict[str, Any], state: str) -> None:
    canary = Canary("soft", item(0))
    found, finding = judged(canary, baseline(), baseline(**now), 1e-6, "model")
    assert found == state
    assert (finding is None) == (state in ("same", "unanswered"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is none in it"),
        ("\n\n", "there is none in it"),
        ("{", "line 1"),
        ('{"profile": "soft"}', "missing required field `item`"),
        ('{"profile": "soft", "item": {}, "gven": {}}', "unknown field `gven`"),
        ('{"profile": "soft", "item": {}, "given": {"status": "ok"}}', "line 1: .*reason"),
        (None, "No such file"),
    ],
    ids=["empty", "blank", "no JSON", "no item", "misspelt", "half a reward", "no file"],
)
def test_files_that_are_none(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "c.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StartupFault, match=message):
        canaries.read(path)


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        ([item(0, task=None)], (), "an error is nothing that could stay the same"),
        ([], (), "there is no item"),
        (["no"], (), "expected an object"),
        ([item(0)], ("--url", "grpc://x:1"), "drop them or --url"),
        ([item(0)], ("--profile", "sofft"), "unknown profile 'sofft'; did you mean 'soft'"),
    ],
    ids=["an error", "empty", "no object", "two places", "profile"],
)
def test_what_cannot_be_recorded(
    run: Run, tmp_path: Path, rows: list[Any], arguments: tuple[str, ...], message: str
) -> None:
    site = Site(tmp_path)
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = ("--config", site.config, "--out", tmp_path / "c.jsonl", "--profile", "soft")
    code, said = run("record", tmp_path / "r.jsonl", *given, *arguments)
    assert code == 2
    assert message in said
    assert not (tmp_path / "c.jsonl").exists()


def test_each_profile_has_an_example_to_record_and_to_check(run: Run, tmp_path: Path) -> None:
    site, out = Site(tmp_path), tmp_path / "c.jsonl"
    arguments = ("record", "--profile", "soft", "--config", site.config, "--out", out)
    assert run(*arguments)[0] == 0
    assert run(*arguments) == (2, f"--out {out} exists; remove it, or choose another")
    (canary,) = canaries.read(out)
    assert canary.given is not None
    assert canary.given.components[0].digest is not None
    assert run("check", out, "--config", site.config)[0] == 0
    forged = msgspec.structs.replace(canary.given, weight=0.123)
    again = Canary("gone", canary.item, canary.given)
    lines = [msgspec.structs.replace(canary, given=forged), canary, again]
    out.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    code, said = run("check", out, "--config", site.config)
    assert code == 3
    assert "1 drifted: another reward under the same digests" in said
    assert "1 unserved" in said


@pytest.mark.parametrize(
    ("minutes_ago", "states", "expected"),
    [
        (None, ["unchecked"], "unchecked"),
        (0.0, ["same", "restated", "unserved", "unanswered"], "green"),
        (0.0, ["same", "drifted"], "red"),
        (0.0, ["unanswered", "unserved"], "unanswered"),
        (32.0, ["same"], "late"),
        (30.5, ["same"], "green"),
        (32.0, ["drifted"], "red"),
    ],
    ids=[
        "before the first round",
        "green",
        "red",
        "unanswered",
        "late",
        "not yet late",
        "late and red",
    ],
)
def test_what_readyz_tells(
    minutes_ago: float | None, states: list[canaries.State], expected: str
) -> None:
    watched = canaries.Watched(600.0)
    watched.states = [("soft", state) for state in states]
    if minutes_ago is not None:
        now = datetime.datetime.now(datetime.UTC)
        watched.checked = now - datetime.timedelta(minutes=minutes_ago)
    found = watched.detail()
    assert found["state"] == expected
    assert found["counts"] == dict.fromkeys(states, 1)
    assert json.loads(json.dumps(found)) == found


def test_what_could_not_be_asked_is_no_drift(tmp_path: Path) -> None:
    """A queue that is full, and a profile that is not served: said, and no alarm."""
    site = Site(tmp_path, "thread", "[batching]\nmax_queue = 1\n")
    asked = [Canary(name, item(i), baseline()) for name in ("soft", "rbio-tf") for i in range(5)]
    (tmp_path / "canaries.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, asked)))
    try:
        site.server.start()
        assert site.becomes("unanswered")["counts"] == {"unanswered": 6, "unserved": 5}
        assert "softverifier_canaries_red 0.0" in get(f"{site.server.url}/metrics").text
    finally:
        site.server.stop()
