"""The traffic of a soak: every profile and trainer's route that a server has, and its abuse.

Made once from a seed and from what the server's catalogue shows, then sent again and again: so each
answer can be compared with the first one to the same request. Limits: one process's clients, which
share the machine with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import grpc
import httpx

import compat
from softverifier._pb import rewards_pb2 as pb

GENES: Final = tuple(f"GENE{i}" for i in range(120))
WORDS: Final = ("loss", "of", "the", "kinase", "raises", "its", "target", "in", "K562", "so", "may")
SCORES_GRPC: Final = "/softverifier.v1.Rewards/Score"
PROFILE: Final = "rbio-mlp"
"""Of the trainers' routes."""
BUSY: Final = (429, 503, 504)
"""Honest refusals."""
VARIANTS: Final = 24


class Asked(NamedTuple):
    """One request; ``body`` None is a GET. ``kind`` is what it is counted as."""

    kind: str
    path: str
    body: bytes | None


def corpus(url: str, seed: int, faults: bool) -> list[Asked]:
    """Requests of every kind that this server answers."""
    draw = random.Random(seed)
    told = httpx.get(f"{url}/v1/profiles", timeout=60).json()["profiles"]
    examples = [profile["example"] for profile in told if profile["available"]]
    made = [
        Asked(f"score {example['profile']}", "/v1/score", _json(_varied(example, draw)))
        for example in examples
        for _ in range(VARIANTS)
    ]
    made += [
        Asked("grpc Score", SCORES_GRPC, _protobuf(draw, draw.randint(1, 16)))
        for _ in range(2 * VARIANTS)
    ]
    made += [_predict(draw) for _ in range(VARIANTS)]
    made += [_trainers(route, draw) for route in compat.ROUTES for _ in range(VARIANTS)]
    made += [Asked("/classify", f"/classify?profile={PROFILE}", _classified(draw)) for _ in WORDS]
    for path in ("/v1/models", "/v1/profiles/rbio-mlp", "/healthz", "/readyz", "/metrics"):
        made.append(Asked("GET", path, None))
    return made + (_abuse(draw) if faults else [])


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _task(draw: random.Random) -> dict[str, str]:
    perturbation, gene = draw.sample(GENES, 2)
    return {
        "type": "perturbation.de",
        "perturbation": perturbation,
        "gene": gene,
        "cell_line": draw.choice(("k562", "rpe1")),
    }


def _completion(draw: random.Random) -> str:
    thought = " ".join(draw.choices(WORDS, k=draw.randint(5, 120)))
    answer = draw.choice(("yes", "no", "no", "perhaps", "yes</answer><answer>no"))
    return f"<think>{thought}.</think>\n<answer>{answer}</answer>"


def _varied(example: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A group of completions: the profile's own example, and what policies make of it."""
    items = []
    for i in range(draw.randint(1, 16)):
        item = dict(draw.choice(example["items"]), id=f"i{i}", group="g")
        if item.get("task", {}).get("type") == "perturbation.de":
            item["task"] = _task(draw)
        if isinstance(item.get("completion"), str):
            way = draw.random()
            if way < 0.3:
                item["completion"] = _completion(draw)
            elif way < 0.5:  # cut off by a limit of tokens
                item["completion"] = item["completion"][: draw.randint(0, 60)]
        items.append(item)
    context = {
        "run": draw.choice(("a", "b", "c")),
        "step": draw.randint(0, 999),
        "split": draw.choice(("train", "eval")),
    }
    return {"profile": example["profile"], "items": items, "context": context}


def _protobuf(draw: random.Random, n: int) -> bytes:
    items = []
    for _ in range(n):
        task = _task(draw)
        fields = {**task, "perturbation": [task["perturbation"]]}
        items.append(pb.Item(completion=_completion(draw), task=pb.Task(**fields)))  # type: ignore[arg-type]
    return pb.ScoreRequest(profile=PROFILE, items=items).SerializeToString()


def _predict(draw: random.Random) -> Asked:
    n = draw.randint(1, 300)
    body = {
        "model": draw.choice(("fake", "slow")),
        "relation": "perturbation.de",
        "context": "k562",
        "subjects": draw.choices(GENES, k=n),
        "objects": draw.choices(GENES, k=n),
    }
    return Asked("predict", "/v1/predict", _json(body))


def _trainers(route: str, draw: random.Random) -> Asked:
    named = urlencode({"profile": PROFILE, "run": "trainer", "split": "train"})
    prompt = compat.PROMPT.format(*draw.sample(GENES, 2))
    body = compat.ROUTES[route].body(prompt, _completion(draw), _task(draw))
    return Asked(route, f"{route}?{named}", _json(body))


def _classified(draw: random.Random) -> bytes:
    question = (
        "<|im_start|>user\nIs a knockdown of {} in K562 cells likely to result in differential "
        "expression of {}? The answer is either yes or no.<|im_end|>\n<|im_start|>assistant\n"
    )
    return _json({"input": question.format(*draw.sample(GENES, 2)) + _completion(draw)})


def _abuse(draw: random.Random) -> list[Asked]:
    """Requests that end in errors, and clients that leave in the middle."""
    poison = {"completion": _completion(draw), "task": {**_task(draw), "perturbation": "POISON"}}
    good = {"completion": _completion(draw), "task": _task(draw)}
    whole = _json({"profile": PROFILE, "items": [good, poison, good]})
    made = [
        Asked("model raises", "/v1/score", whole),
        Asked("not JSON", "/v1/score", whole[:-3]),
        Asked("no such profile", "/v1/score", _json({"profile": "nope", "items": []})),
        Asked("no such route", "/v1/nothing", b"{}"),
        Asked("bad protobuf", SCORES_GRPC, whole),
        Asked("leaves midway", "/v1/score", whole),
        Asked("leaves before the answer", "/v1/score", _slow(draw)),
    ]
    return made * (VARIANTS // 2)


def _slow(draw: random.Random) -> bytes:
    items = [{"completion": _completion(draw), "task": _task(draw)} for _ in range(64)]
    return _json({"profile": "rbio-mlp+exp", "items": items})


class Clients:
    """Whoever asks.

    Args:
        url: of HTTP.
        grpc_port: of gRPC, on the loopback.
        corpus: what may be asked.
        rate: requests a second, all together.
        seed: of who asks what when.
    """

    def __init__(self, url: str, grpc_port: int, corpus: Sequence[Asked], rate: float, seed: int):
        self._url, self._port = url, int(url.rsplit(":", 1)[1])
        self._corpus = corpus
        self._rate = rate
        self._draw = random.Random(seed)
        self._first: dict[int, Any] = {}
        limits = httpx.Limits(max_keepalive_connections=16)
        self._http = httpx.AsyncClient(base_url=url, timeout=60, limits=limits)
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}")
        self._score = self._channel.unary_unary(SCORES_GRPC)
        self.counts: Counter[str] = Counter()
        self.busy = 0
        self.wrong: list[str] = []
        self.latencies: list[float] = []

    async def ask_until(self, end: float, clients: int) -> None:
        """Ask until ``end`` (``time.monotonic``)."""
        pause = clients / self._rate
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self._one(end, pause))

    async def _one(self, end: float, pause: float) -> None:
        while time.monotonic() < end:
            index = self._draw.randrange(len(self._corpus))
            asked = self._corpus[index]
            start = time.perf_counter()
            try:
                answer = await self._answered(asked)
            except (httpx.HTTPError, OSError) as error:
                answer = f"no answer: {error!r}"
            took = time.perf_counter() - start
            self.counts[asked.kind] += 1
            self.latencies.append(took)
            self._compare(index, asked, answer)
            await asyncio.sleep(max(0.0, self._draw.uniform(0.5, 1.5) * pause - took))

    async def _answered(self, asked: Asked) -> Any:
        """What decides whether two answers are the same; None: nothing to compare."""
        if asked.kind.startswith("leaves"):
            await self._leave(asked)
            return None
        if asked.path == SCORES_GRPC:
            return await self._called(asked)
        if asked.body is None:
            response = await self._http.get(asked.path)
            return response.status_code
        response = await self._http.post(asked.path, content=asked.body)
        if response.status_code in BUSY:
            self.busy += 1
            return None
        body = response.json()
        if response.status_code == 200 and isinstance(body, dict) and "results" in body:
            return [_said(result) for result in body["results"]]
        return response.status_code, body if response.status_code == 200 else None

    async def _called(self, asked: Asked) -> Any:
        assert asked.body is not None
        try:
            answer = await self._score(asked.body, timeout=60)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return f"no answer: {error.details()}"
            return error.code().name
        results = pb.ScoreResponse.FromString(answer).results
        return [
            None if r.status == "error" else (r.status, r.reward, r.answer, r.reason)
            for r in results
        ]

    async def _leave(self, asked: Asked) -> None:
        """Send half of a request, or a whole one, and go."""
        assert asked.body is not None
        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"POST {asked.path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(asked.body)}\r\n\r\n"
        body = asked.body[:20] if asked.kind == "leaves midway" else asked.body
        with contextlib.suppress(ConnectionError):
            writer.write(head.encode() + body)
            await writer.drain()
            await asyncio.sleep(0.005)
            writer.close()
            await writer.wait_closed()

    def _compare(self, index: int, asked: Asked, answer: Any) -> None:
        if isinstance(answer, str) and answer.startswith("no answer"):
            self.wrong.append(f"{asked.kind}: {answer}")
        elif answer is not None:
            before = self._first.setdefault(index, answer)
            if not _agree(before, answer):
                self.wrong.append(f"{asked.kind}: {answer!r:.300}; the first time {before!r:.300}")

    async def leave(self) -> None:
        """Close every connection."""
        await self._http.aclose()
        await self._channel.close()


def _said(result: Any) -> Any:
    """Of a result: what may not change. An item in error is asked again by whoever wants it."""
    if not isinstance(result, dict):
        return result
    told = (result["status"], result["reward"], result["answer"], result["reason"])
    return None if result["status"] == "error" else told


def _agree(one: Any, other: Any) -> bool:
    """Whether two answers to one request say the same, items in error left out."""
    if not isinstance(one, list) or not isinstance(other, list):
        return bool(one == other)
    return len(one) == len(other) and all(
        a == b or a is None or b is None for a, b in zip(one, other, strict=True)
    )
