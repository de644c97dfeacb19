"""One item through an adapter's own path: what ``softverifier check ADAPTER`` does.

The item is the profile's own example, put into the shape in which the trainer would hand it over;
what is printed is what the trainer would get. No trainer needs to be installed. Limits: the class
that an adapter mixes into its trainer's (swift, SkyRL, open-instruct, ROLL, NeMo-RL) is checked
without the trainer's half.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final

from softverifier.client import RewardClient
from softverifier.errors import UsageError
from softverifier.trainers import ADAPTERS
from softverifier.trainers.configuration import configured
from softverifier.trainers.recipes import recipe_named

Example = Mapping[str, Any]
PROMPT: Final = "softverifier check"


def check(adapter: str) -> Any:
    """What the adapter gives for the profile's example, configured by environment.

    Raises:
        UsageError: there is no such adapter, or it is not configured.
        SoftVerifierError: as the adapter does.
    """
    if adapter not in _CALLS:
        raise UsageError(f"no adapter {adapter!r}; there are {', '.join(ADAPTERS)}")
    found = configured()
    with RewardClient(
        found.url,
        api_key=found.token,
        ca_file=found.ca_file,
        cert_file=found.cert_file,
        key_file=found.key_file,
        deadline=found.deadline,
    ) as client:
        recipe = recipe_named(found.profile, client.profiles())
    return _CALLS[adapter](recipe.example)


def _columns(example: Example) -> dict[str, Any]:
    return {name: value for name, value in example.items() if name not in ("id", "completion")}


def _call(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"softverifier.trainers.{module}"), name)


def _trl(example: Example) -> Any:
    lists = {name: [value] for name, value in _columns(example).items() if name != "prompt"}
    return _call("trl", "reward")([PROMPT], [example["completion"]], **lists)


def _verl(example: Example) -> Any:
    score = _call("verl", "compute_score")
    return asyncio.run(score("check", example["completion"], _columns(example), {}))


def _openrlhf(example: Example) -> Any:
    query = PROMPT + str(example["completion"])
    return _call("openrlhf", "reward_func")([query], [PROMPT], [_columns(example)])


def _slime(example: Example) -> Any:
    sample = SimpleNamespace(
        prompt=PROMPT, response=example["completion"], label=_columns(example), metadata={}
    )
    return asyncio.run(_call("slime", "reward")(SimpleNamespace(), sample))


def _verifiers(example: Example) -> Any:
    message = {"role": "assistant", "content": example["completion"]}
    trace = SimpleNamespace(assistant_messages=[message])
    return asyncio.run(_call("verifiers", "reward")(_columns(example), trace))


def _nemo_gym(example: Example) -> Any:
    text = [{"type": "output_text", "text": example["completion"]}]
    response = {"output": [{"type": "message", "role": "assistant", "content": text}]}
    asked = {"responses_create_params": {"input": PROMPT}, "response": response}
    return asyncio.run(_call("nemo_gym", "verified")({**asked, **_columns(example)}))


def _nemo_rl(example: Example) -> Any:
    log = [
        {"role": "user", "content": PROMPT},
        {"role": "assistant", "content": example["completion"]},
    ]
    numbers, _ = _call("nemo_rl", "Environment")().rewarded([log], [_columns(example)])
    return numbers


def _skyrl(example: Example) -> Any:
    made = _call("skyrl", "Environment")({}, _columns(example))
    made.init([{"role": "user", "content": PROMPT}])
    return made.step(example["completion"])


def _areal(example: Example) -> Any:
    return _call("areal", "reward_fn")(PROMPT, example["completion"], [], [], **_columns(example))


def _swift(example: Example) -> Any:
    lists = {name: [value] for name, value in _columns(example).items()}
    return asyncio.run(_call("swift", "SoftVerifier")()([example["completion"]], **lists))


def _easyr1(example: Example) -> Any:
    row = {"response": example["completion"], "ground_truth": _columns(example)}
    return _call("easyr1", "compute_score")([row])


def _open_instruct(example: Example) -> Any:
    return _call("open_instruct", "score")(example["completion"], _columns(example))


def _roll(example: Example) -> Any:
    return _call("roll", "rewarded")([example["completion"]], [PROMPT], [_columns(example)])


_CALLS: Final[dict[str, Callable[[Example], Any]]] = {
    "trl": _trl,
    "verl": _verl,
    "openrlhf": _openrlhf,
    "slime": _slime,
    "verifiers": _verifiers,
    "nemo_gym": _nemo_gym,
    "nemo_rl": _nemo_rl,
    "skyrl": _skyrl,
    "areal": _areal,
    "swift": _swift,
    "easyr1": _easyr1,
    "open_instruct": _open_instruct,
    "roll": _roll,
}
