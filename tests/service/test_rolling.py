"""Models replaced while they are served, by one process and by several, under load."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from processes import LINE, PAIRS, RELATION, answers, point, version
from rolled import SETTINGS, Rolled, asked
from servers import ServerProcess, get, post, wait_until
from service import room

WAYS = {
    "in the loop": (1, "inline"),
    "on its thread": (1, "thread"),
    "two workers": (2, "inline"),
    "two workers and a host": (2, "thread"),
}


@pytest.fixture(scope="module", params=WAYS.values(), ids=WAYS)
def rolled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rolled]:
    made = Rolled(tmp_path_factory.mktemp("rolled"), *request.param)
    yield made
    made.server.stop()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolled]:
    made = Rolled(tmp_path_factory.mktemp("single"), 1, "inline", grace=0.2)
    yield made
    made.server.stop()


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
    assert answer.status_code == 200, f"{answer.text} after {answer.elapsed}"
    body = answer.json()
    if route == "predict":
        return body["digest"], body["p"]
    (result,) = body["results"]
    (part,) = result["components"]
    assert result["status"] == "ok"
    assert result["reward"] == part["p"]
    return part["digest"], [result["reward"]]


def test_under_load_every_answer_is_the_old_ones_or_the_new_ones(rolled: Rolled) -> None:
    url, old = rolled.url, rolled.now
    load = Load(url)
    load.until(60)
    new = rolled.turn()
    assert old.figures != new.figures
    told = rolled.reload()
    assert told.json() == {
        "model": "tiny",
        "changed": True,
        "before": old.digest,
        "digest": new.digest,
    }
    after = [post(f"{url}/v1/predict", json=asked(PAIRS[:3])).json() for _ in range(12)]
    assert {one["digest"] for one in after} == {new.digest}
    load.until(60)
    figures = {one.digest: one.figures for one in (old, new)}
    seen = set()
    for route, pairs, answer in load.end():
        digest, found = said(route, answer)
        seen.add(digest)
        assert found == [figures[digest][pair] for pair in pairs]
    assert seen == set(figures)
    for _ in range(8):  # whoever answers
        model = get(f"{url}/v1/models/tiny").json()
        assert model["digest"] == new.digest
        assert old.digest in [one["digest"] for one in model["retiring"]]
        pinned = post(f"{url}/v1/predict", json=asked(PAIRS[:3], f"tiny@{old.digest}"))
        assert said("predict", pinned)[1] == [old.figures[pair] for pair in PAIRS[:3]]


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(rolled: Rolled) -> None:
    url, old, new = rolled.url, rolled.now, rolled.turn()
    retiring = get(f"{url}/v1/models/tiny").json()["retiring"]
    broken = next(new.folder.glob("*.safetensors"))
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    told = rolled.reload()
    assert told.status_code == 409
    assert f"{old.digest} is served on" in told.json()["error"]["message"]
    assert broken.name in told.json()["error"]["message"]
    for _ in range(6):
        answer = post(f"{url}/v1/predict", json=asked(PAIRS[:3]))
        assert said("predict", answer)[0] == old.digest
        model = get(f"{url}/v1/models/tiny").json()
        assert (model["prepared"], model["retiring"]) == ([], retiring)
    broken.write_bytes(whole)
    assert rolled.reload().json()["digest"] == new.digest


def test_hanging_up_loads_every_model_anew(rolled: Rolled) -> None:
    new = rolled.turn()
    assert rolled.server.process is not None
    rolled.server.process.send_signal(signal.SIGHUP)

    def turned() -> bool:
        url = f"{rolled.url}/v1/models/tiny"
        return {get(url).json()["digest"] for _ in range(6)} == {new.digest}

    wait_until(turned, 20, "the new version is not served")
    assert rolled.reload().json()["changed"] is False


def test_what_has_not_changed_is_not_replaced(rolled: Rolled) -> None:
    before = get(f"{rolled.url}/v1/models/tiny").json()["retiring"]
    digest = rolled.now.digest
    told = rolled.reload().json()
    assert told == {"model": "tiny", "changed": False, "before": digest, "digest": digest}
    assert get(f"{rolled.url}/v1/models/tiny").json()["retiring"] == before


def test_several_who_ask_at_once_get_the_same(rolled: Rolled) -> None:
    new = rolled.turn()
    with ThreadPoolExecutor(4) as pool:
        told = [one.result() for one in [pool.submit(rolled.reload) for _ in range(4)]]
    assert [one.status_code for one in told] == [200] * 4
    assert {one.json()["digest"] for one in told} == {new.digest}


def test_a_pin_is_refused_once_the_grace_is_over(single: Rolled) -> None:
    url, old = f"{single.url}/v1/predict", single.now
    pinned = f"tiny@{old.digest}"
    assert post(url, json=asked(PAIRS[:2], pinned)).status_code == 200
    new = single.turn()
    assert single.reload().status_code == 200
    wait_until(
        lambda: post(url, json=asked(PAIRS[:2], pinned)).status_code == 409, 10, "never refused"
    )
    told = post(url, json=asked(PAIRS[:2], pinned)).json()["error"]["message"]
    assert f"'tiny' is {new.digest} here, the request pins {old.digest}" in told
    assert get(f"{single.url}/v1/models/tiny").json()["retiring"] == []
    log = single.server.log
    wait_until(lambda: "a replaced model is gone" in log(), 10, "the old version stays")
    assert post(url, json=asked(PAIRS[:2])).status_code == 200


def test_a_folder_with_another_model_is_refused(single: Rolled) -> None:
    point(single.server.folder / "tiny", version(single.server.folder / "other", 2, name="other"))
    told = single.reload()
    assert told.status_code == 409
    assert "holds 'other' now" in told.json()["error"]["message"]


def test_unknown_models_are_named(single: Rolled) -> None:
    told = single.reload("tny")
    assert told.status_code == 404
    assert "did you mean 'tiny'" in told.json()["error"]["message"]


def test_admin_routes_are_off_by_default(server: ServerProcess) -> None:
    told = post(f"{server.url}/v1/models/fake/reload")
    assert told.status_code == 403
    assert "admin.enabled = true" in told.json()["error"]["message"]


def test_a_profile_may_pin_a_version_of_its_model(tmp_path: Path) -> None:
    folder = version(tmp_path / "v1", 0)
    digest, figures = answers(folder)
    point(tmp_path / "tiny", folder)
    text = SETTINGS.format(run="inline", grace=0.1)
    text = text.replace('" = "tiny"', f'" = "tiny@{digest}"')
    server = ServerProcess(tmp_path, text).start()
    try:
        url = f"{server.url}/v1/score"
        assert said("score", post(url, json=scored(PAIRS[0])))[1] == [figures[PAIRS[0]]]
        point(tmp_path / "tiny", version(tmp_path / "v2", 1))
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
