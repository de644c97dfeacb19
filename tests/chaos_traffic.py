"""Clients that go on asking while something is broken, and what they may be told.

    with Traffic(server.url, "slow", clients=4) as traffic:
        ... break something ...
        traffic.more(20)          # wait for 20 more answers
        mended = time.monotonic()
        ... mend it ...
    traffic.held_to(rewards_of(calm_server, ...))

Every question is asked once and by one client, so an answer can be told from any other. What came
is held against a server that nothing was done to: an answer is the same to the last bit, or there
is an error that says so; nothing hangs.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from servers import ServerProcess, get, post, wait_until

Recovery = Callable[[str, float, str], None]
"""Notes what happened, the seconds that it took to be well again, and what that means."""
Breakable = Callable[..., ServerProcess]
"""Starts a server with more settings and options, and models that are slower."""
HONEST = frozenset({429, 503, 504})
"""What a request as a whole may be told instead of an answer."""
REFUSED = "refused"
RESET = "reset"


def item(subject: str) -> dict[str, Any]:
    task = {"type": "perturbation.de", "gene": "CALR", "cell_line": "k562"}
    return {
        "completion": "<think>It may well be so.</think>\n<answer>yes</answer>",
        "task": {**task, "perturbation": subject},
    }


def body(profile: str, *subjects: str, **more: Any) -> dict[str, Any]:
    return {"profile": profile, "items": [item(subject) for subject in subjects], **more}


@dataclass(frozen=True)
class Heard:
    """One question and what came of it."""

    subject: str
    outcome: str
    """`ok`, the reason of an item's error, an HTTP status, `refused` (no connection) or `reset`."""
    reward: float | None
    began: float
    ended: float
    cached: bool = False


def read(subject: str, status: int, payload: bytes, began: float) -> Heard:
    """What an HTTP answer says of one question."""
    if status != 200:
        assert "message" in json.loads(payload)["error"]
        return Heard(subject, str(status), None, began, time.monotonic())
    (result,) = json.loads(payload)["results"]
    outcome = "ok" if result["status"] == "ok" else result["reason"]
    cached = any(part["cached"] for part in result["components"])
    return Heard(subject, outcome, result["reward"], began, time.monotonic(), cached)


class Traffic:
    """So many clients, each asking one question after the other."""

    def __init__(
        self,
        url: str,
        profile: str,
        *,
        clients: int = 3,
        timeout: float = 30.0,
        deadline_ms: int | None = None,
        keep_alive: bool = True,
        name: str = "Q",
    ) -> None:
        self.heard: list[Heard] = []
        self.hung: list[str] = []
        self._url, self._profile, self._timeout = url, profile, timeout
        self._more = {} if deadline_ms is None else {"deadline_ms": deadline_ms}
        self._head = {} if keep_alive else {"connection": "close"}
        self._names = (f"{name}{i}" for i in itertools.count())
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(clients)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self) -> None:
        with httpx.Client(verify=False, timeout=self._timeout, headers=self._head) as client:
            while not self._over.is_set():
                with self._lock:
                    subject = next(self._names)
                heard = self._one(client, subject)
                with self._lock:
                    self.heard.append(heard)
                if heard.outcome != "ok":
                    self._over.wait(0.05)

    def _one(self, client: httpx.Client, subject: str) -> Heard:
        began = time.monotonic()
        try:
            found = client.post(
                f"{self._url}/v1/score", json=body(self._profile, subject, **self._more)
            )
        except httpx.TimeoutException:
            self.hung.append(subject)
            return Heard(subject, "hung", None, began, time.monotonic())
        except httpx.ConnectError:
            return Heard(subject, REFUSED, None, began, time.monotonic())
        except httpx.TransportError:
            return Heard(subject, RESET, None, began, time.monotonic())
        return read(subject, found.status_code, found.content, began)

    def more(self, count: int, outcome: str | None = None, seconds: float = 60.0) -> None:
        """Wait until so many more questions that begin from now on have come to an end."""
        now = time.monotonic()

        def came() -> bool:
            with self._lock:
                new = [one for one in self.heard if one.began >= now]
            return sum(outcome in (None, one.outcome) for one in new) >= count

        wait_until(came, seconds, f"{self.outcomes()}, wanted {count} more {outcome or ''}")

    def outcomes(self) -> Counter[str]:
        """How often each outcome came."""
        with self._lock:
            return Counter(one.outcome for one in self.heard)

    def recovered_s(self, mended: float) -> float:
        """Seconds from ``mended`` until a question was answered that was not before it was."""
        ends = [h.ended for h in self.heard if h.outcome == "ok" and h.ended > mended]
        assert ends, self.outcomes()
        return min(ends) - mended

    def held_to(self, calm: ServerProcess, allowed: Iterable[str] = ()) -> None:
        """Each question one outcome, each answer that of a server without faults."""
        assert not self.hung
        subjects = [one.subject for one in self.heard]
        assert len(subjects) == len(set(subjects))
        assert set(self.outcomes()) <= {"ok", *allowed}, self.outcomes()
        truths = rewards_of(calm, self._profile, subjects)
        check(self.heard, truths)


def check(heard: Iterable[Heard], truths: Mapping[str, float]) -> None:
    """No wrong reward: the same bits, or none."""
    for one in heard:
        assert one.reward == (truths[one.subject] if one.outcome == "ok" else None), one


def rewards_of(calm: ServerProcess, profile: str, subjects: Iterable[str]) -> dict[str, float]:
    """What a server that nothing was done to says."""
    names = list(subjects)
    found: dict[str, float] = {}
    for at in range(0, len(names), 500):
        part = names[at : at + 500]
        answer = post(f"{calm.url}/v1/score", json=body(profile, *part), timeout=60)
        assert answer.status_code == 200, answer.text
        for subject, result in zip(part, answer.json()["results"], strict=True):
            assert result["status"] == "ok", result
            found[subject] = result["reward"]
    return found


def metric(server: ServerProcess, sample: str) -> float:
    """The value of one sample, given as it is written; 0 where there is none."""
    text = get(f"{server.url}/metrics", timeout=30).text
    rows = [row for row in text.splitlines() if row.startswith(sample)]
    return sum(float(row.split()[-1]) for row in rows)


@contextlib.contextmanager
def lasting(seconds: float) -> Any:
    """Fail if the block takes longer."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds, f"{took:.2f} s, expected less than {seconds}"
