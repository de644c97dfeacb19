"""Nothing that a policy wrote and nothing that is secret is logged or shown."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from keyed_server import keyed_server
from servers import ServerProcess, free_port, get, post
from service import settings
from service.cache import redacted
from service.errors import StartupFault
from service.security.keys import mint
from softverifier._pb import rewards_pb2 as pb
from softverifier.trainers.configuration import configured

CANARY = "CANARY-7f3a"
PASSWORD = "pa55word-9c1e"
TASK = {"type": "perturbation.de", "perturbation": "AARS1", "gene": "CALR", "cell_line": "k562"}
TEXT = f"<think>{CANARY} charges tRNA, so stress may reach it.</think><answer>yes</answer>"


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[ServerProcess, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("canary")
    more = f"""
[security]
keys = "keys.toml"
[cache]
redis_url = "redis://user:{PASSWORD}@127.0.0.1:{free_port()}/0"
redis_mode = "always"
[telemetry]
log_level = "debug"
"""
    server, keys = keyed_server(folder, more)
    server.start()
    provoke(server, keys)
    yield server, keys
    server.stop()


def items(**more: Any) -> dict[str, Any]:
    return {"profile": "rbio-mlp", "items": [{"completion": TEXT, "task": TASK, **more}]}


BODIES: dict[str, Any] = {
    "good": items(),
    "poisoned": items(task={**TASK, "perturbation": "POISON"}),
    "NaN": items(task={**TASK, "perturbation": "NAN"}),
    "unknown gene": items(task={**TASK, "perturbation": "UNKNOWN"}),
    "no answer": items(completion=CANARY),
    "two answers": items(completion=TEXT + TEXT),
    "long": items(completion=CANARY * 300_000),
    "too long": items(completion=CANARY * 500_000),
    "a number": items(completion=[CANARY, 3]),
    "a role": items(completion=[{"role": CANARY, "content": 3}]),
    "task type": items(task={"type": CANARY}),
    "task field": items(task={**TASK, CANARY: 1}),
    "no task": items(task=None),
    "prompt": items(prompt=CANARY, truth=CANARY, keywords=[CANARY]),
    "unknown field": items(**{CANARY: CANARY}),
    "unknown profile": {**items(), "profile": CANARY},
    "unknown key": {**items(), CANARY: CANARY},
    "context": {**items(), "context": {"run": CANARY, "split": CANARY}},
    "deadline": {**items(), "profile": "slow", "deadline_ms": 1},
    "string": CANARY,
    "empty": {},
}
RAW = {
    "half": json.dumps(items()).encode()[:-3],
    "bytes": CANARY.encode() + b"\xff\xfe",
    "deep": b'{"items":' + b"[" * 100_000 + CANARY.encode(),
}
TRAINERS: dict[str, Any] = {
    "/get_reward?profile=rbio-mlp": {"query": [TEXT], "prompts": [CANARY], "labels": [CANARY]},
    "/rm?profile=rbio-mlp": {"prompt": CANARY, "response": TEXT, "label": {"task": CANARY}},
    "/rm": {"prompt": CANARY, "response": TEXT, "label": CANARY},
    "/verify": {"response": CANARY, "responses_create_params": CANARY},
    "/test_program": {"program": TEXT, "tests": [CANARY], "max_execution_time": 1},
    "/classify": {"model": CANARY, "input": [TEXT]},
    f"/rm?{CANARY}=1": {"response": TEXT},
}


def provoke(server: ServerProcess, keys: dict[str, str]) -> None:
    """Every way in which a request may fail, with the canary wherever text goes."""
    bearer = {"authorization": f"Bearer {keys['score']}"}
    for body in BODIES.values():
        post(f"{server.url}/v1/score", json=body, headers=bearer, timeout=30)
        post(f"{server.url}/v1/score", json=body, timeout=30)
    for raw in RAW.values():
        post(f"{server.url}/v1/score", content=raw, headers=bearer, timeout=30)
    for route, body in TRAINERS.items():
        sign = "&" if "?" in route else "?"
        post(f"{server.url}{route}{sign}key={keys['score']}", json=body, timeout=30)
        post(f"{server.url}{route}{sign}key={keys['score'][:-1]}", json=body, timeout=30)
    get(f"{server.url}/nowhere?{CANARY}=1&key={keys['score']}")
    post(f"{server.url}/v1/score", json=items(), headers={"authorization": CANARY})
    for sent in (
        b"POST /v1/score HTTP/9.9\r\n" + CANARY.encode(),
        b"POST /v1/score HTTP/1.1\r\nauthorization: Bearer " + keys["score"].encode()
        + b"\r\ncontent-length: 9999\r\n\r\n" + CANARY.encode(),
    ):  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.http_port)) as sock:
            sock.sendall(sent)  # and gone
    over_grpc(server, keys["score"])


def over_grpc(server: ServerProcess, key: str) -> None:
    task = pb.Task(type="perturbation.de", perturbation=["POISON"], gene="CALR", cell_line="k562")
    requests = [
        pb.ScoreRequest(profile="rbio-mlp", items=[pb.Item(completion=TEXT, task=task)]),
        pb.ScoreRequest(profile=CANARY, items=[pb.Item(completion=TEXT)]),
        pb.ScoreRequest(
            profile="rbio-mlp", items=[pb.Item(completion=TEXT, task=pb.Task(type=CANARY))]
        ),
    ]
    bodies = [request.SerializeToString() for request in requests] + [CANARY.encode()]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        for token in (key, CANARY):
            metadata = [("authorization", f"Bearer {token}")]
            for body in bodies:
                with contextlib.suppress(grpc.RpcError):
                    channel.unary_unary("/softverifier.v1.Rewards/Score")(
                        body, metadata=metadata, timeout=20
                    )


def test_no_text_of_a_policy_and_no_secret_is_logged(
    told: tuple[ServerProcess, dict[str, str]],
) -> None:
    server, keys = told
    logged = server.log() + server.output
    assert "model raised" in logged  # the log is the one that the faults went to
    assert "Redis" in logged
    for secret in (CANARY, PASSWORD, *keys.values(), *(key.rpartition("_")[2] for key in keys)):
        if len(secret) > 8:
            assert secret not in logged


def test_no_metric_shows_them(told: tuple[ServerProcess, dict[str, str]]) -> None:
    server, keys = told
    shown = get(
        f"{server.url}/metrics", headers={"authorization": f"Bearer {keys['metrics']}"}
    ).text
    shown = "\n".join(line for line in shown.splitlines() if f'run="{CANARY}"' not in line)
    assert CANARY not in shown  # but the run, which its caller names
    assert PASSWORD not in shown


def test_settings_and_doctor_show_no_password(tmp_path: Path) -> None:
    url = f"redis://user:{PASSWORD}@127.0.0.1:1/0"
    loaded = settings.load(None, {"cache": {"redis_url": url}})
    assert PASSWORD not in repr(loaded)
    assert PASSWORD not in str(loaded)
    config = tmp_path / "sv.toml"
    config.write_text(f'[starter]\nenabled = false\n[cache]\nredis_url = "{url}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "service", "doctor", "--config", str(config)],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert "redis" in done.stdout
    assert "this machine alone is served" in " ".join(done.stdout.split())
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "text",
    [
        f'[cache]\nredis_url = ["{PASSWORD}"]',
        f'cache = "redis://:{PASSWORD}@host"',
        f'[cache]\nredis_urls = "redis://:{PASSWORD}@host"',
    ],
    ids=["a list", "no table", "a wrong name"],
)
def test_wrong_settings_do_not_quote_a_password(tmp_path: Path, text: str) -> None:
    config = tmp_path / "sv.toml"
    config.write_text(text)
    with pytest.raises(StartupFault) as fault:
        settings.load(config)
    assert PASSWORD not in str(fault.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{PASSWORD}@host:1/0",
        f"redis://user:{PASSWORD}@host",
        f"redis://:a/{PASSWORD}@host",
        f"redis://:a@{PASSWORD}@host",
        f"redis://host/0?password={PASSWORD}&x=1",
        f"redis+sentinel://:{PASSWORD}@a:1,b:2/main",
    ],
)
def test_passwords_are_taken_out_of_urls(url: str) -> None:
    assert PASSWORD not in redacted(url)
    assert "host" in redacted(url) or "a:1,b:2/main" in redacted(url)


def test_an_adapter_shows_no_key() -> None:
    key, _ = mint("a", ["score"])
    found = configured(url=f"http://{key}@host:8080", profile="p")
    assert found.url == "http://host:8080"
    assert found.token == key
    assert key not in repr(found)
