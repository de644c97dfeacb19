"""Requests whose profiles ask for work, beside requests that never wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from served import SETTINGS
from service import app, settings
from service.front.gathering import Gathering
from service.front.hot import HotRoutes, Reply, Waited
from service.front.rest import Dispatcher
from service.rewards.verifiers import VERIFIERS
from trial_judge import PROFILE

GOOD = "<think>It may well be so.</think>\n<answer>yes</answer>"
ASKED = {"type": "perturbation.de", "perturbation": "A", "gene": "B", "cell_line": "k562"}


def body(profile: str, *truths: Any, **more: Any) -> bytes:
    items = [{"completion": GOOD, "task": ASKED, "truth": truth} for truth in truths]
    return json.dumps({"profile": profile, "items": items, **more}).encode()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test server's settings with a profile that asks for work."""
    monkeypatch.setitem(VERIFIERS, "trial", "trial_judge:TrialJudge")  # type: ignore[arg-type]
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "trial.toml").write_text(PROFILE)
    file = tmp_path / "soft-verifier.toml"
    text = SETTINGS.replace('"profiles"', f'"{profiles}"').replace('run = "thread"', "")
    file.write_text(text.replace("[work]", "[work]\nbudget_ms = 60"))
    return file


@asynccontextmanager
async def running(config: Path) -> AsyncIterator[HotRoutes]:
    service = app.build(settings.load(config))
    await service.start()
    try:
        yield HotRoutes(service.pipeline)
    finally:
        await service.stop()


def tell(config: Path, story: Callable[[HotRoutes], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        async with running(config) as hot:
            return await story(hot)

    return asyncio.run(whole())


def results(reply: Reply) -> list[dict[str, Any]]:
    assert reply.status == 200, reply.payload
    found: list[dict[str, Any]] = json.loads(reply.payload)["results"]
    return found


def test_each_item_has_what_came_of_its_own_work(config: Path) -> None:
    truths = [["double", 2], ["double", 0], ["forever"], ["segfault"], ["fail", "x"], None, 7]
    truths.append(["double", 2])

    async def story(hot: HotRoutes) -> list[dict[str, Any]]:
        return results(await hot.reply("/v1/score", body("trial", *truths)))

    found = tell(config, story)
    assert [(one["status"], one["reward"], one["reason"]) for one in found] == [
        ("ok", 1.0, "OK"),
        ("ok", 0.0, "OK"),
        ("invalid", 0.0, "TOO_LONG"),
        ("invalid", 0.0, "TOO_LONG"),
        ("error", None, "MODEL_ERROR"),
        ("abstain", None, "NO_TRUTH"),
        ("abstain", None, "NO_TRUTH"),
        ("ok", 1.0, "OK"),
    ]
    assert [one["retryable"] for one in found[2:5]] == [False, False, True]
    assert "trial: the completion takes more than 60 ms" in found[2]["message"]
    assert "trial: its computation ended with MODEL_ERROR" in found[4]["message"]
    assert found[0]["message"] is None


def test_what_is_late_is_an_error_and_nothing_at_all_is_504(config: Path) -> None:
    nap = ["naps", "/dev/null", 0.5]

    async def story(hot: HotRoutes) -> tuple[list[dict[str, Any]], int]:
        some = await hot.reply("/v1/score", body("trial", ["double", 2], nap, deadline_ms=300))
        none = await hot.reply("/v1/score", body("trial", [*nap[:2], 0.51], deadline_ms=100))
        return results(some), none.status

    some, none = tell(config, story)
    assert [one["reason"] for one in some] == ["OK", "DEADLINE"]
    assert some[1]["retryable"]
    assert none == 504


def test_a_full_workshop_is_429(config: Path) -> None:
    config.write_text(config.read_text().replace("[work]", "[work]\nmax_queue = 3"))

    async def story(hot: HotRoutes) -> int:
        truths = [["double", i] for i in range(4)]
        return (await hot.reply("/v1/score", body("trial", *truths))).status

    assert tell(config, story) == 429


WAITING: dict[str, tuple[bytes, bool]] = {
    "a profile that asks for work": (body("trial", 1), True),
    "the same, pinned": (body("trial@sha256:00", 1), True),
    "a model in the loop": (body("rbio-mlp", 1), False),
    "no model": (body("rbio-released", 1), False),
    "an unknown profile": (body("nope", 1), False),
    "predict in the loop": (b'{"model": "fake", "relation": "x"}', False),
    "an unknown model": (b'{"model": "nope"}', False),
    "not JSON": (b"{", False),
    "nothing": (b"", False),
    "a profile that is no text": (b'{"profile": 3}', False),
    "the profile last": (b'{"items": [{"truth": {"profile": "no"}}], "profile": "trial"}', True),
    "the name in an item": (b'{"profile": "rbio-mlp", "items": [{"profile": "trial"}]}', False),
}


def test_only_the_request_that_waits_waits(config: Path) -> None:
    async def story(hot: HotRoutes) -> dict[str, bool]:
        return {name: hot.waits(one) for name, (one, _) in WAITING.items()}

    assert tell(config, story) == {name: waits for name, (_, waits) in WAITING.items()}


def test_a_model_on_its_thread_holds_up_its_own_profiles_only(config: Path) -> None:
    config.write_text(config.read_text().replace('name = "slow"', 'name = "slow"\nrun = "thread"'))
    own = config.parent / "profiles" / "slow-exp.toml"
    own.write_text('extends = "rbio-mlp"\n[[component]]\nname = "perturbation.de"\nmodel = "slow"')

    async def story(hot: HotRoutes) -> list[bool]:
        asked = ("slow-exp", "rbio-mlp")
        return [hot.waits(body(name, 1)) for name in asked] + [hot.waits(b'{"model": "slow"}')]

    assert tell(config, story) == [True, False, True]


@pytest.mark.parametrize(
    ("run", "waits"),
    [("inline", [False, False]), ("thread", [True, False])],
    ids=["no model waits", "one of them waits"],
)
def test_a_predict_request_waits_for_its_own_model(
    config: Path, run: str, waits: list[bool]
) -> None:
    config.write_text(config.read_text().replace('name = "slow"', f'name = "slow"\nrun = "{run}"'))

    async def story(hot: HotRoutes) -> list[bool]:
        bodies = [b'{"model": "slow"}', b'{"model": "fake"}']
        return [hot.waits(one, route="/v1/predict") for one in bodies]

    assert tell(config, story) == waits


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def answer(self, reply: Reply, last: bool) -> None:
        self.told.set_result(reply)


@pytest.mark.parametrize("profiles", [["trial"], ["trial", "trial"], ["trial", "rbio-mlp"]])
def test_what_waits_although_it_was_not_to_is_answered_all_the_same(
    config: Path, profiles: list[str]
) -> None:
    """Redis came up between two turns of the loop, say."""

    async def story(hot: HotRoutes) -> list[Reply]:
        gathering = Gathering(hot)
        listeners = [Listener() for _ in profiles]
        for listener, name in zip(listeners, profiles, strict=True):
            gathering.submit(listener, "/v1/score", body(name, ["double", 3]), False)
        return [await asyncio.wait_for(listener.told, 10) for listener in listeners]

    for reply in tell(config, story):
        assert [one["status"] for one in results(reply)] == ["ok"]


def test_what_waits_is_not_finished_now(config: Path) -> None:
    async def story(hot: HotRoutes) -> None:
        with pytest.raises(Waited):
            hot.reply_now("/v1/score", body("trial", ["double", 4]))

    tell(config, story)


def test_a_client_that_goes_away_takes_its_work_with_it(config: Path, tmp_path: Path) -> None:
    marks = [tmp_path / str(i) for i in range(40)]
    request = body("trial", *[["naps", str(mark), 0.05] for mark in marks])

    async def story(hot: HotRoutes) -> int:
        sent: list[Any] = []
        gone = asyncio.Event()
        parts = [{"type": "http.request", "body": request, "more_body": False}]

        async def receive() -> Any:
            if parts:
                return parts.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "path": "/v1/score", "method": "POST", "headers": []}
        asked = asyncio.create_task(Dispatcher(hot, scope_refused)(scope, receive, send))
        while not any(mark.exists() for mark in marks):
            await asyncio.sleep(0.005)
        gone.set()
        await asyncio.wait_for(asked, 5)
        assert sent == []
        await hot.reply("/v1/score", body("trial", ["double", 5]))
        return sum(mark.exists() for mark in marks)

    assert tell(config, story) < 20


async def scope_refused(*_: Any) -> None:
    raise AssertionError("not a hot route")


def test_the_profiles_own_examples_are_rehearsed(config: Path) -> None:
    config.write_text(config.read_text().replace("warm = false", "warm = true"))

    async def story(hot: HotRoutes) -> None:
        async def up() -> None:
            while len(hot.pipeline.workshop.pids) < 2:
                await asyncio.sleep(0.02)

        await asyncio.wait_for(up(), 20)

    tell(config, story)


def test_rewards_are_told_apart_by_the_items_own_split(config: Path) -> None:
    items = [
        {"completion": GOOD, "truth": ["double", 1], "split": "ood"},
        {"completion": GOOD, "truth": ["double", 0], "split": "made up"},
        {"completion": GOOD, "truth": ["double", 1]},
        {"completion": 3},
    ]
    request = {"profile": "trial", "items": items, "context": {"split": "id"}}

    async def story(hot: HotRoutes) -> str:
        await hot.reply("/v1/score", json.dumps(request).encode())
        return hot.pipeline.metrics.expose().decode()

    text = tell(config, story)
    for split, count in {"ood": 1, "other": 1, "id": 1}.items():
        line = f'softverifier_reward_count{{profile="trial",run="",split="{split}"}} {count}.0'
        assert line in text
