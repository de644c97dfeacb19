"""Run, step and split, by whichever way a trainer can carry them, as the audit log has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compat_samples import PROMPT, YES, openrlhf, output, row, task
from served import SETTINGS, write_profiles
from servers import ServerProcess, post, wait_until

LABEL = task()
PROFILE, STEP = "x-softverifier-profile", "x-softverifier-step"
HEADERS = {"x-softverifier-run": "h1", "x-softverifier-step": "5", "x-softverifier-split": "ood"}
RM = {"prompt": PROMPT, "response": YES, "label": LABEL}
STEPPED = {"task": LABEL, "split": "test", "step": 9}
NO_STEP: dict[str, Any] = {
    "negative": -1,
    "text": "9",
    "truth": True,
    "real": 1.5,
    "beyond 64 bits": 2**63,
    "list": [9],
}
CASES: dict[str, tuple[str, dict[str, str], Any, tuple[str, int | None, str]]] = {
    "nothing": ("/rm", {}, RM, ("", None, "")),
    "slime, URL": ("/rm?run=a1&step=7&split=train", {}, RM, ("a1", 7, "train")),
    "slime, headers": ("/rm", HEADERS, RM, ("h1", 5, "ood")),
    "slime, URL over headers": ("/rm?run=a1&step=7", HEADERS, RM, ("a1", 7, "ood")),
    "slime, label": ("/rm?run=a1", {}, {**RM, "label": STEPPED}, ("a1", 9, "test")),
    "slime, label beneath the URL": ("/rm?step=0", {}, {**RM, "label": STEPPED}, ("", 0, "test")),
    "slime, bare task": ("/rm", {}, {**RM, "label": {**LABEL, "global_step": 3}}, ("", 3, "")),
    "OpenRLHF, URL": ("/get_reward?run=a1&step=7", {}, openrlhf(YES, LABEL), ("a1", 7, "")),
    "OpenRLHF, JSON text": (
        "/get_reward?run=a1", {}, openrlhf(YES, json.dumps(STEPPED)), ("a1", 9, "test"),
    ),
    "Gym, row": (
        "/verify", {}, {**row(LABEL, global_steps=4, split="test"), "response": output(YES)},
        ("", 4, "test"),
    ),
    "Gym, verifier_metadata": (
        "/verify", HEADERS, {**row({}, verifier_metadata=STEPPED), "response": output(YES)},
        ("h1", 5, "test"),
    ),
    "open-instruct, label": (
        "/test_program?run=a1", {}, {"program": YES, "tests": [json.dumps(STEPPED)]},
        ("a1", 9, "test"),
    ),
    "vLLM, headers": ("/classify", HEADERS, {"input": PROMPT + YES}, ("h1", 5, "ood")),
    **{
        f"slime, a step that is {name}": (
            "/rm?run=a1", {}, {**RM, "label": {**STEPPED, "step": step}}, ("a1", None, "test"),
        )
        for name, step in NO_STEP.items()
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Path]]:
    folder = tmp_path_factory.mktemp("audited")
    write_profiles(folder)
    running = ServerProcess(folder, f'{SETTINGS}\n[audit]\npath = "audit.jsonl"\n').start()
    yield running, folder / "audit.jsonl"
    running.stop()


def read(log: Path) -> list[dict[str, Any]]:
    text = log.read_text() if log.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def logged(log: Path, known: int, count: int) -> list[dict[str, Any]]:
    wait_until(lambda: len(read(log)) == known + count, 10, "not everything is logged")
    return read(log)[known:]


@pytest.mark.parametrize(("path", "headers", "body", "told"), CASES.values(), ids=CASES)
def test_whose_samples_they_are_reaches_the_audit_log(
    audited: tuple[ServerProcess, Path],
    path: str,
    headers: dict[str, str],
    body: Any,
    told: tuple[str, int | None, str],
) -> None:
    server, log = audited
    known = len(read(log))
    answer = post(f"{server.url}{path}", json=body, headers={**headers, PROFILE: "rbio-mlp"})
    assert answer.status_code == 200, answer.text
    (line,) = logged(log, known, 1)
    assert (line.get("run", ""), line.get("step"), line.get("split", "")) == told
    assert line["status"] == "ok"


def test_samples_of_several_steps_in_one_request(audited: tuple[ServerProcess, Path]) -> None:
    server, log = audited
    known = len(read(log))
    labels = [{"task": LABEL, "step": step, "id": f"at-{step}"} for step in (2, 1, 2, 3)]
    body = {"query": [PROMPT + YES] * 4, "prompts": [PROMPT] * 4, "labels": labels}
    answer = post(f"{server.url}/get_reward?profile=rbio-mlp", json=body).json()
    assert len(set(answer["rewards"])) == 1
    lines = logged(log, known, 4)
    assert sorted((line["step"], line["id"]) for line in lines) == [
        (1, "at-1"), (2, "at-2"), (2, "at-2"), (3, "at-3"),
    ]  # fmt: skip


@pytest.mark.parametrize("step", ["-1", "1.5", "x", "٣", str(2**63), "9" * 400])
def test_a_step_that_is_none_is_refused(audited: tuple[ServerProcess, Path], step: str) -> None:
    server, _ = audited
    for answer in (
        post(f"{server.url}/rm", params={"profile": "rbio-mlp", "step": step}, json=RM),
        post(f"{server.url}/rm?profile=rbio-mlp", headers={STEP: step.encode()}, json=RM),
    ):
        assert answer.status_code == 422
        assert answer.json()["error"]["field"] == "step"
