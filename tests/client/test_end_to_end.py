"""The real client against the real service: HTTP and gRPC give the same bits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from running import RunningService
from softverifier import AsyncRewardClient, Component, RequestRejected, RewardClient

GOOD = "<think>AARS1 and CALR may well be connected in these cells.</think><answer>{}</answer>"


def task(perturbation: Any = "AARS1", gene: str = "CALR", **more: Any) -> dict[str, Any]:
    found = {"type": "perturbation.de", "perturbation": perturbation, "gene": gene}
    return {**found, "cell_line": "k562", **more}


def messages(text: str) -> list[dict[str, Any]]:
    part = {"type": "text", "text": text[3:]}
    said = {"role": "assistant", "content": [{"type": "text", "text": text[:3]}, part]}
    return [{"role": "user", "content": "Is a knockdown …?"}, said]


APART = {
    "role": "assistant",
    "reasoning_content": "AARS1 and CALR may well be connected in these cells.",
    "content": "<answer>yes</answer>",
}
IN_A_PART = {
    "role": "assistant",
    "content": [
        {"type": "thinking", "thinking": APART["reasoning_content"]},
        {"type": "text", "text": "<answer>yes</answer>"},
    ],
}
THOUGHT = APART["reasoning_content"]
RESPONSES = [
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]},
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "<answer>yes</answer>", "annotations": []}],
    },
]
CALL = {"type": "function", "function": {"name": "reply", "arguments": '{"answer": "yes"}'}}
BEGUN = "I doubt it.</think><answer>no</answer>"
SHAPES: dict[str, Any] = {
    "responses": RESPONSES,
    "responses-without-reasoning": RESPONSES[1:],
    "responses-after-a-tool": [
        {"type": "function_call", "name": "look", "arguments": "{}", "call_id": "1"},
        {"type": "function_call_output", "call_id": "1", "output": "yes"},
        *RESPONSES,
    ],
    "text-before-thinking": [
        {"content": [{"text": "<answer>yes</answer>"}, {"type": "thinking", "thinking": THOUGHT}]}
    ],
    "thinking-in-turn": [
        {
            "content": [
                {"type": "thinking", "thinking": [{"text": "a"}]},
                {"type": "text", "text": "<answer>"},
                {"type": "image", "url": "x"},
                {"type": "text", "text": "no</answer>"},
            ]
        }
    ],
    "tool-calls": [{**APART, "tool_calls": [CALL]}],
    "content-none": [{"role": "assistant", "content": None, "tool_calls": [CALL]}],
    "no-role": [{"content": GOOD.format("no")}],
    "empty-role": [{"role": "", "content": GOOD.format("no")}],
    "role-none": [{"role": None, "content": GOOD.format("no")}],
    "content-of-a-number": [{"role": "assistant", "content": 5}],
    "part-of-a-number": [{"role": "assistant", "content": [{"text": 5}]}],
    "not-a-message": ["<answer>yes</answer>"],
    "no-messages": [],
    "surrogate": [{"content": [{"text": GOOD.format("yes\ud800")}]}],
    "surrogate-in-plain": [{"content": GOOD.format("yes\ud800")}],
}
ITEMS: dict[str, Any] = {
    "yes": {"completion": GOOD.format("yes"), "task": task()},
    "no": {"completion": GOOD.format("no"), "task": task(), "id": "r1", "group": "g"},
    "whole-number-id": {"completion": GOOD.format("no"), "task": task(), "id": 7},
    "combination": {"completion": GOOD.format("yes"), "task": task(["AARS1", "CALR"])},
    "one-in-a-list": {"completion": GOOD.format("yes"), "task": task(["AARS1"])},
    "unknown-gene": {"completion": GOOD.format("yes"), "task": task("NOGENE")},
    "other-cell-line": {"completion": GOOD.format("yes"), "task": task(cell_line="jurkat")},
    "none-fields": {"completion": GOOD.format("yes"), "task": {**task(), "classes": None}},
    "messages": {"completion": messages(GOOD.format("yes")), "task": task()},
    "reasoning-kept-apart": {"completion": [APART], "task": task()},
    "reasoning-in-a-part": {"completion": [IN_A_PART], "task": task()},
    "answer-in-the-reasoning": {
        "completion": [{**APART, "reasoning_content": "so <answer>no</answer>"}],
        "task": task(),
    },
    "string-confidences": {
        "completion": GOOD.format("yes"),
        "task": task(),
        "truth": {"classes": ["no", "yes"], "confidences": ["0.2", 0.8]},
    },
    "task-of-two-types": {"completion": GOOD.format("yes"), "task": task(genes=["A", "B"])},
    "prefilled": {
        "completion": "It may be so.</think><answer>yes</answer>",
        "prompt": messages("Well: <think>"),
        "task": task(),
    },
    "user-says-think": {
        "completion": "It may be so.</think><answer>yes</answer>",
        "prompt": [{"role": "user", "content": "<think>"}],
        "task": task(),
    },
    "no-answer": {"completion": "I cannot know", "task": task()},
    "empty": {"completion": "", "task": task()},
    "no-completion": {"task": task()},
    "surrogate": {"completion": GOOD.format("yes\ud800"), "task": task()},
    "surrogate-gene": {"completion": GOOD.format("yes"), "task": task("A\ud800")},
    "no-task": {"completion": GOOD.format("yes")},
    "unknown-task": {"completion": GOOD.format("yes"), "task": {"type": "perturbation.up"}},
    "no-gene": {
        "completion": GOOD.format("yes"),
        "task": {"type": "perturbation.de", "perturbation": "A"},
    },
    "strange-field": {"completion": GOOD.format("yes"), "task": task(), "colour": "red"},
    "nan-truth": {"completion": GOOD.format("yes"), "task": task(), "truth": float("nan")},
    "not-a-dict": "text",
}
SOFT = {"classes": ["no", "yes"], "confidences": [0.137, 0.863]}
RELEASED: dict[str, Any] = {
    "soft-labels": {"truth": SOFT},
    "third": {"truth": {"classes": ["no", "yes"], "confidences": [1 / 3, 2 / 3]}},
    "label": {"truth": "yes"},
    "boolean": {"truth": True},
    "number": {"truth": 1},
    "list": {"truth": ["yes"]},
    "none": {"truth": None},
    "no-keywords": {"truth": SOFT, "keywords": []},
    "label-task": {
        "truth": "yes",
        "task": {"type": "label", "classes": ["no", "yes"], "synonyms": {"yes": ["aye"]}},
    },
}


def without_messages(rewards: list[Any]) -> list[Any]:
    """What both ways must agree on.

    Bad items are named in the words of each wire, and those that the client keeps back have no
    components, which only the server knows.
    """
    found = []
    for reward in rewards:
        parts = [(p.name, p.score, p.p, p.p0, p.uncertainty, p.status) for p in reward.components]
        key = (reward.id, reward.status, reward.reward, reward.weight, reward.answer)
        shown = None if reward.reason == "BAD_ITEM" else parts
        found.append((*key, reward.reason, reward.retryable, reward.contradiction, shown))
    return found


def ask(url: str, items: list[Any], profile: str) -> list[Any]:
    with RewardClient(url, profile=profile) as client:
        return client.score(items)


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
def test_both_ways_give_the_same_bits(service: RunningService, item: Any) -> None:
    over_http = ask(service.http, [item], "soft")
    assert without_messages(ask(service.grpc, [item], "soft")) == without_messages(over_http)


@pytest.mark.parametrize("completion", SHAPES.values(), ids=SHAPES)
def test_every_shape_of_messages_arrives_both_ways(
    service: RunningService, completion: Any
) -> None:
    items = [
        {"completion": completion, "task": task()},
        {
            "completion": "I doubt it.</think><answer>no</answer>",
            "prompt": completion,
            "task": task(),
        },
    ]
    over_http = ask(service.http, items, "soft")
    assert without_messages(ask(service.grpc, items, "soft")) == without_messages(over_http)


OPENED: dict[str, Any] = {
    "parts": [{"role": "assistant", "content": [{"type": "text", "text": "<think>\n"}]}],
    "thought-behind-it": [
        {"content": [{"text": "<think>"}, {"type": "thinking", "thinking": "and so on"}]}
    ],
}


@pytest.mark.parametrize("prompt", OPENED.values(), ids=OPENED)
def test_prompts_of_messages_arrive_both_ways(service: RunningService, prompt: Any) -> None:
    item = {
        "completion": "I doubt it.</think><answer>no</answer>",
        "prompt": prompt,
        "task": task(),
    }
    (over_http,) = ask(service.http, [item], "soft")
    assert without_messages(ask(service.grpc, [item], "soft")) == without_messages([over_http])
    assert (over_http.status == "ok") == (prompt is OPENED["parts"])


@pytest.mark.parametrize("more", RELEASED.values(), ids=RELEASED)
def test_every_form_of_truth_arrives_both_ways(service: RunningService, more: Any) -> None:
    item = {"completion": GOOD.format("yes"), "task": task(), "keywords": ["AARS1", "CALR"], **more}
    over_http = ask(service.http, [item], "rbio-released")
    assert without_messages(ask(service.grpc, [item], "rbio-released")) == without_messages(
        over_http
    )


@pytest.fixture(params=["http", "grpc"])
def url(request: pytest.FixtureRequest, service: RunningService) -> str:
    return str(getattr(service, request.param))


def test_statuses_are_what_the_house_says(url: str) -> None:
    found = dict(zip(ITEMS, ask(url, list(ITEMS.values()), "soft"), strict=True))
    statuses = {name: (reward.status, reward.reason) for name, reward in found.items()}
    assert statuses["yes"] == ("ok", "OK")
    assert statuses["unknown-gene"] == ("abstain", "UNKNOWN_GENE")
    assert statuses["other-cell-line"] == ("abstain", "OUT_OF_DISTRIBUTION")
    assert statuses["no-answer"] == ("invalid", "NO_ANSWER")
    assert statuses["strange-field"] == ("error", "BAD_ITEM")
    assert statuses["not-a-dict"] == ("error", "BAD_ITEM")
    assert statuses["prefilled"] == ("ok", "OK")
    assert statuses["user-says-think"][0] == "invalid"
    yes, no = found["yes"].reward, found["no"].reward
    assert yes is not None
    assert no == pytest.approx(1 - yes)
    assert found["no-answer"].reward == 0.0
    assert found["unknown-gene"].reward is None
    assert isinstance(found["yes"].components[0], Component)
    assert found["yes"].components[0].model == "screen"


def test_predict_answers_as_the_model_does(service: RunningService) -> None:
    columns: Any = ("screen", "perturbation.de", ["AARS1", "NOGENE"], ["CALR", "CALR"])
    with RewardClient(service.http) as http, RewardClient(service.grpc) as grpc:
        over_http = http.predict(*columns, context="k562")
        assert grpc.predict(*columns, context="k562") == over_http
        assert grpc.predict(*columns, context=["k562", "k562"]) == over_http
        assert http.predict(*columns, context=["k562", "k562"]) == over_http
        assert over_http.status == ("OK", "UNKNOWN_GENE")
        assert over_http.p[1] is None
        assert len(grpc.predict("screen", "perturbation.de", [], [])) == 0
        assert len(http.predict("screen", "perturbation.de", [], [])) == 0


def test_models_are_listed_alike(service: RunningService) -> None:
    with RewardClient(service.http) as http, RewardClient(service.grpc) as grpc:
        (there,), (here,) = grpc.models(), http.models()
        assert {key: here[key] for key in there} == there
        assert {entry["name"] for entry in http.profiles()} >= {"soft", "rbio-mlp"}
        assert http.health() and http.ready() and grpc.health() and grpc.ready()  # noqa: PT018


def test_mistakes_are_named(url: str) -> None:
    with RewardClient(url) as client:
        with pytest.raises(RequestRejected, match="sof") as caught:
            client.score([{}], profile="sof")
        assert caught.value.status == 404
        with pytest.raises(RequestRejected) as caught:
            client.score([{}], profile="soft@sha256:0")
        assert caught.value.status == 409
        with pytest.raises(RequestRejected, match="screen"):
            client.predict("scren", "perturbation.de", ["A"], ["B"])


def test_thousands_in_order(url: str) -> None:
    async def main() -> list[Any]:
        async with AsyncRewardClient(url, profile="soft") as client:
            return await client.score(
                {"id": i, "completion": GOOD.format("yes"), "task": task(f"G{i % 100}")}
                for i in range(5_000)
            )

    got = asyncio.run(main())
    assert [reward.id for reward in got] == list(range(5_000))
    assert len({reward.reward for reward in got}) == 100
    assert all(got[i].reward == got[i % 100].reward for i in range(5_000))
