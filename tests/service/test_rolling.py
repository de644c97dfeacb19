"""Models replaced while they are served, by one process and by several, under load."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from processes import LINE, PAIRS, RELATION, answers, point, version
from servers import ServerProcess, get, post, wait_until
from service import room

SETTINGS = """
[starter]
enabled = false
[work]
warm = false
[admin]
enabled = true
[rolling]
grace_s = {grace}
[[models]]
path = "tiny"
run = "{run}"
[profiles.models]
"rbio-mlp" = "tiny"
"""
WAYS = {
    "in the loop": (1, "inline"),
    "on its thread": (1, "thread"),
    "two workers": (2, "inline"),
    "two workers and a host": (2, "thread"),
}


class Rolled(NamedTuple):
    """A server on the first of two versions."""

    server: ServerProcess
    old: tuple[str, dict[tuple[str, str], float]]
    new: tuple[str, dict[tuple[str, str], float]]

    def turn_to(self, which: str) -> None:
        point(self.server.folder / "tiny", self.server.folder / which)

    def reload(self, name: str = "tiny") -> httpx.Response:
        return post(f"{self.server.url}/v1/models/{name}/reload", timeout=60)


def served(folder: Path, workers: int, run: str, grace: float = 60) -> Rolled:
    old, new = version(folder / "v1", 0), version(folder / "v2", 1)
    point(folder / "tiny", folder / "v1")
    text = SETTINGS.format(run=run, grace=grace)
    server = ServerProcess(folder, text, "--workers", str(workers))
    return Rolled(server.start(), answers(old), answers(new))


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def rolled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rolled]:
    made = served(tmp_path, *request.param)
    yield made
    made.server.stop()


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Rolled]:
    made = served(tmp_path, 1, "inline", grace=0.2)
    yield made
    made.server.stop()


def asked(pairs: list[tuple[str, str]], model: str = "tiny") -> dict[str, Any]:
    subjects, objects = ([pair[i] for pair in pairs] for i in (0, 1))
    return {
        "model": model,
        "relation": RELATION,
        "context": LINE,
        "subjects": subjects,
        "objects": objects,
    }


def scored(pair: tuple[str, str]) -> dict[str, Any]:
    task = {"type": RELATION, "perturbation": pair[0], "gene": pair[1], "cell_line": LINE}
    completion = "<think>It may well be so.</think><answer>yes</answer>"
    return {"profile": "rbio-mlp", "items": [{"completion": completion, "task": task}]}


class Load:
    """Clients that ask until they are told to stop; every answer is kept."""

    def __init__(self, url: str, clients: int = 6):
        self._url = url
        self._stop = threading.Event()
        self.answers: list[tuple[str, list[tuple[str, str]], httpx.Response]] = []
        self._pool = ThreadPoolExecutor(clients)
        self._asking = [self._pool.submit(self._ask, i) for i in range(clients)]

    def _ask(self, i: int) -> None:
        turn = i
        with httpx.Client(timeout=30, verify=False) as client:
            while not self._stop.is_set():
                pairs = [PAIRS[(turn + k) % len(PAIRS)] for k in range(8)]
                if turn % 2:
                    route, body = "predict", asked(pairs)
                else:
                    pairs = pairs[:1]
                    route, body = "score", scored(pairs[0])
                answer = client.post(f"{self._url}/v1/{route}", json=body)
                self.answers.append((route, pairs, answer))
                turn += 1

    def until(self, more: int) -> None:
        """Wait for so many more answers."""
        aim = len(self.answers) + more
        wait_until(lambda: len(self.answers) >= aim, 60, "the clients are not answered")

    def end(self) -> list[tuple[str, list[tuple[str, str]], httpx.Response]]:
        self._stop.set()
        for one in self._asking:
            one.result()
        self._pool.shutdown()
        return self.answers


def said(route: str, answer: httpx.Response) -> tuple[str, list[float]]:
    """The digest that an answer names, and its figures."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    if route == "predict":
        return body["digest"], body["p"]
    (result,) = body["results"]
    (part,) = result["components"]
    assert result["status"] == "ok"
    assert result["reward"] == part["p"]
    return part["digest"], [result["reward"]]


def test_under_load_every_answer_is_the_old_ones_or_the_new_ones(rolled: Rolled) -> None:
    url = rolled.server.url
    assert rolled.old[1] != rolled.new[1]
    load = Load(url)
    load.until(60)
    rolled.turn_to("v2")
    told = rolled.reload()
    assert told.json() == {
        "model": "tiny",
        "changed": True,
        "before": rolled.old[0],
        "digest": rolled.new[0],
    }
    after = [post(f"{url}/v1/predict", json=asked(PAIRS[:3])).json() for _ in range(12)]
    assert {one["digest"] for one in after} == {rolled.new[0]}
    load.until(60)
    figures = dict([rolled.old, rolled.new])
    seen = set()
    for route, pairs, answer in load.end():
        digest, found = said(route, answer)
        seen.add(digest)
        assert found == [figures[digest][pair] for pair in pairs]
    assert seen == set(figures)
    for _ in range(8):  # whoever answers
        model = get(f"{url}/v1/models/tiny").json()
        assert model["digest"] == rolled.new[0]
        assert [one["digest"] for one in model["retiring"]] == [rolled.old[0]]
        pinned = post(f"{url}/v1/predict", json=asked(PAIRS[:3], f"tiny@{rolled.old[0]}"))
        assert said("predict", pinned)[1] == [rolled.old[1][pair] for pair in PAIRS[:3]]


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(rolled: Rolled) -> None:
    url, folder = rolled.server.url, rolled.server.folder
    broken = next((folder / "v2").glob("*.safetensors"))
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    rolled.turn_to("v2")
    told = rolled.reload()
    assert told.status_code == 409
    assert f"{rolled.old[0]} is served on" in told.json()["error"]["message"]
    assert broken.name in told.json()["error"]["message"]
    for _ in range(6):
        answer = post(f"{url}/v1/predict", json=asked(PAIRS[:3]))
        assert said("predict", answer)[0] == rolled.old[0]
        model = get(f"{url}/v1/models/tiny").json()
        assert (model["prepared"], model["retiring"]) == ([], [])
    broken.write_bytes(whole)
    assert rolled.reload().json()["digest"] == rolled.new[0]


def test_hanging_up_loads_every_model_anew(rolled: Rolled) -> None:
    rolled.turn_to("v2")
    assert rolled.server.process is not None
    rolled.server.process.send_signal(signal.SIGHUP)

    def turned() -> bool:
        url = f"{rolled.server.url}/v1/models/tiny"
        return {get(url).json()["digest"] for _ in range(6)} == {rolled.new[0]}

    wait_until(turned, 20, "the new version is not served")


def test_a_pin_is_refused_once_the_grace_is_over(single: Rolled) -> None:
    url, pinned = f"{single.server.url}/v1/predict", f"tiny@{single.old[0]}"
    assert post(url, json=asked(PAIRS[:2], pinned)).status_code == 200
    single.turn_to("v2")
    assert single.reload().status_code == 200
    wait_until(
        lambda: post(url, json=asked(PAIRS[:2], pinned)).status_code == 409, 10, "never refused"
    )
    said = post(url, json=asked(PAIRS[:2], pinned)).json()["error"]["message"]
    assert f"'tiny' is {single.new[0]} here, the request pins {single.old[0]}" in said
    assert get(f"{single.server.url}/v1/models/tiny").json()["retiring"] == []
    log = single.server.log
    wait_until(lambda: "a replaced model is gone" in log(), 10, "the old version stays")
    assert post(url, json=asked(PAIRS[:2])).status_code == 200


def test_what_has_not_changed_is_not_replaced(rolled: Rolled) -> None:
    told = rolled.reload().json()
    assert told == {
        "model": "tiny",
        "changed": False,
        "before": rolled.old[0],
        "digest": rolled.old[0],
    }
    assert get(f"{rolled.server.url}/v1/models/tiny").json()["retiring"] == []


def test_two_who_ask_at_once_get_the_same(rolled: Rolled) -> None:
    rolled.turn_to("v2")
    with ThreadPoolExecutor(4) as pool:
        told = [one.result() for one in [pool.submit(rolled.reload) for _ in range(4)]]
    assert [one.status_code for one in told] == [200] * 4
    assert {one.json()["digest"] for one in told} == {rolled.new[0]}


def test_a_folder_with_another_model_is_refused(single: Rolled) -> None:
    version(single.server.folder / "other", 2, name="other")
    single.turn_to("other")
    told = single.reload()
    assert told.status_code == 409
    assert "holds 'other' now" in told.json()["error"]["message"]


def test_unknown_models_are_named(single: Rolled) -> None:
    told = single.reload("tny")
    assert told.status_code == 404
    assert "did you mean 'tiny'" in told.json()["error"]["message"]


def test_admin_routes_are_off_by_default(own_server: ServerProcess) -> None:
    own_server.start()
    told = post(f"{own_server.url}/v1/models/fake/reload")
    assert told.status_code == 403
    assert "admin.enabled = true" in told.json()["error"]["message"]


def test_a_profile_may_pin_a_version_of_its_model(tmp_path: Path) -> None:
    digest, figures = answers(version(tmp_path / "v1", 0))
    version(tmp_path / "v2", 1)
    point(tmp_path / "tiny", tmp_path / "v1")
    text = SETTINGS.format(run="inline", grace=0.1)
    server = ServerProcess(tmp_path, text.replace('" = "tiny"', f'" = "tiny@{digest}"')).start()
    try:
        url = f"{server.url}/v1/score"
        assert said("score", post(url, json=scored(PAIRS[0])))[1] == [figures[PAIRS[0]]]
        point(tmp_path / "tiny", tmp_path / "v2")
        assert post(f"{server.url}/v1/models/tiny/reload").status_code == 200
        wait_until(lambda: post(url, json=scored(PAIRS[0])).status_code == 409, 10, "never refused")
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("free", "lacks"),
    [(None, False), (1 << 40, False), (1 << 20, True), (0, True)],
    ids=["this machine", "plenty", "a megabyte", "none"],
)
def test_room_is_asked_for_before_a_model_is_loaded(
    tmp_path: Path, free: int | None, lacks: bool
) -> None:
    (tmp_path / "weights.safetensors").write_bytes(bytes(1000))
    said = room.lack(tmp_path, free)
    assert (said is not None) is lacks
    if lacks:
        assert "1,000 bytes" in str(said)
    assert room.lack(None, 0) is None
