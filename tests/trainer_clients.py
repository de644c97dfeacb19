"""What trainers do around a reward, written anew from their documented behaviour, for replay.

Each class sends exactly what its trainer sends, tries as often, waits as long, and turns the answer
into what training uses. ``pause_s`` alone may be shortened. Where a trainer scores 0 for a failure
or crashes, so do these.
"""

from __future__ import annotations

import json
import time
from typing import Any, NoReturn

import httpx


def strict(text: str) -> Any:
    """JSON as orjson reads it: a literal NaN or Infinity is fatal."""

    def fatal(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=fatal)


def fresh_post(url: str, body: Any, timeout: float) -> httpx.Response:
    """A POST on a TCP connection of its own; characters beyond ASCII escaped, as trainers do."""
    head = {"content-type": "application/json"}
    return httpx.post(url, content=json.dumps(body), headers=head, timeout=timeout, verify=False)


class OpenRLHF:
    """``remote_rm``: 180 s, 5 tries one second apart, whatever the status; None, then a crash."""

    tries, timeout_s = 5, 180.0

    def __init__(self, url: str, pause_s: float = 1.0) -> None:
        self.url, self.pause_s = url, pause_s
        self.tried = 0

    def request(self, body: dict[str, Any]) -> dict[str, Any] | None:
        for _ in range(self.tries):
            self.tried += 1
            try:
                response = fresh_post(self.url, body, self.timeout_s)
                response.raise_for_status()
                found: dict[str, Any] = response.json()
                return found
            except (httpx.HTTPError, ValueError):
                time.sleep(self.pause_s)
        return None

    def tensors(self, bodies: list[dict[str, Any]]) -> tuple[Any, Any, dict[str, Any]]:
        """Rewards, scores and logs of several requests, joined as the trainer joins them."""
        import torch

        found = [self.request(body) for body in bodies]
        rewards = torch.cat([torch.tensor(one["rewards"]) for one in found])  # type: ignore[index]
        scores = torch.cat([torch.tensor(one["scores"]) for one in found])  # type: ignore[index]
        keys = found[0]["extra_logs"]  # type: ignore[index]
        logs = {
            key: torch.cat([torch.tensor(one["extra_logs"][key]) for one in found])  # type: ignore[index]
            for key in keys
        }
        assert all(set(one["extra_logs"]) == set(keys) for one in found)  # type: ignore[index]
        return rewards, scores, logs


class Slime:
    """``remote_rm``: 120 s, 10 tries, 4xx too; then raises. miles is the same without retries."""

    timeout_s = 120.0

    def __init__(self, url: str, *, tries: int = 10, pause_s: float = 1.0) -> None:
        self.url, self.tries, self.pause_s = url, tries, pause_s
        self.tried = 0

    def reward(self, prompt: Any, response: str, label: Any) -> Any:
        body = {"prompt": prompt, "response": response, "label": label}
        for attempt in range(self.tries):
            self.tried += 1
            try:
                answer = fresh_post(self.url, body, self.timeout_s)
                answer.raise_for_status()
                return answer.json()
            except (httpx.HTTPError, ValueError):
                if attempt + 1 == self.tries:
                    raise
                time.sleep(self.pause_s)
        raise AssertionError("unreachable")

    @staticmethod
    def tensor(rewards: list[Any], reward_key: str | None) -> Any:
        import torch

        values = [one[reward_key] if reward_key else one for one in rewards]
        return torch.tensor(values, dtype=torch.float)


class Gym:
    """NeMo Gym's client with NeMo-RL's demands: any status but 2xx raises."""

    timeout_s = 60.0

    def __init__(self, url: str) -> None:
        self.url = url

    def verify(self, row: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
        body = {**row, "response": response}
        answer = fresh_post(self.url, body, self.timeout_s)
        answer.raise_for_status()
        found: dict[str, Any] = strict(answer.text)
        assert {key: found[key] for key in body if key != "instance_config"} == {
            key: value for key, value in body.items() if key != "instance_config"
        }
        assert abs(found["reward"] - sum(found["reward_components"].values())) <= 1e-5
        assert found["mask_sample"] is found["instance_config"]["mask_sample"]
        return found


class Axolotl:
    """Its Gym plugin: one after another, 30 s, and 0.0 without a word where anything fails."""

    timeout_s = 30.0

    def __init__(self, url: str) -> None:
        self.url = url

    def reward(self, row: dict[str, Any], response: dict[str, Any]) -> float:
        try:
            answer = fresh_post(self.url, {**row, "response": response}, self.timeout_s)
            answer.raise_for_status()
            return float(answer.json()["reward"])
        except (httpx.HTTPError, ValueError, KeyError):
            return 0.0


class OpenInstruct:
    """The code verifier: mean of ``results``, 0.0 for whatever fails."""

    timeout_s = 30.0

    def __init__(self, url: str) -> None:
        self.url = url

    def reward(self, program: str, tests: Any) -> float:
        body = {"program": program, "tests": tests, "max_execution_time": 1.0}
        try:
            answer = fresh_post(self.url, body, self.timeout_s)
            answer.raise_for_status()
            passed = answer.json()["results"]
            return sum(passed) / len(passed) if passed else 0.0
        except (httpx.HTTPError, ValueError, KeyError):
            return 0.0


class Discriminator:
    """verl's client of a discriminative reward model behind vLLM."""

    timeout_s = 60.0

    def __init__(self, url: str) -> None:
        self.url = url

    def reward(self, model: str, text: str) -> float:
        body = {"model": model, "input": text, "use_activation": False}
        answer = fresh_post(self.url, body, self.timeout_s)
        answer.raise_for_status()
        return float(answer.json()["data"][-1]["probs"][-1])
