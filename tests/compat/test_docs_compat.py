"""``docs/compat.md`` is executed: every curl, its answer's keys, the tables."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import ServerProcess, get, post
from service.front.compat.call import PARAMETERS
from service.front.compat.routes import ROUTES

PAGE = (Path(__file__).parents[2] / "docs" / "compat.md").read_text("utf-8")
EXAMPLES = re.findall(r"```bash\n(curl .*)\n```\n\n```json\n(.*)\n```", PAGE)


PATHS = [shlex.split(command)[2].split("8080")[1] for command, _ in EXAMPLES]
SETTINGS = """
[[models]]
family = "fake"
name = "fake"
[profiles.models]
"rbio-mlp" = "fake"
"""


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The starter, as the page has it, and the fake model in place of a trained one."""
    running = ServerProcess(tmp_path_factory.mktemp("documented"), SETTINGS).start()
    yield running
    running.stop()


def close(value: Any) -> Any:
    """The document with its figures to three decimals: they are the starter model's."""
    if isinstance(value, dict):
        return {key: close(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [close(entry) for entry in value]
    return pytest.approx(value, abs=1e-3) if isinstance(value, float) else value


def test_what_has_no_reward_earns_what_the_profile_states(documented: ServerProcess) -> None:
    stated = get(f"{documented.url}/v1/profiles/starter").json()
    model = get(f"{documented.url}/v1/models/starter").json()
    rate = model["metrics"]["base_rate"]
    assert stated["neutral_from"] == "base rate"
    assert stated["neutral"] == pytest.approx(rate**2 + (1 - rate) ** 2, abs=1e-6)
    label = {"type": "gene.coexpression", "genes": ["CYTL1", "NOTAGENE"]}
    body = {"response": "<think>Both mark it.</think><answer>yes</answer>", "label": label}
    for route in ("/rm", "/verify"):
        sent = (
            body
            if route == "/rm"
            else {
                "responses_create_params": {},
                "response": {"output": [{"type": "message", "content": body["response"]}]},
                "task": label,
            }
        )
        found = post(f"{documented.url}{route}?profile=starter", json=sent).json()
        assert (found["reward"], found["sv_valid"]) == (stated["neutral"], 0.0)


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=PATHS)
def test_every_curl_gives_what_is_shown(
    documented: ServerProcess, command: str, shown: str
) -> None:
    words = shlex.split(command)
    url = words[2].replace("http://127.0.0.1:8080", documented.url)
    if "-d" in words:
        head = {"content-type": "application/json"}
        answer = post(url, content=words[words.index("-d") + 1], headers=head)
    else:
        answer = get(url)
    assert answer.status_code == 200, answer.text
    shown = shown.replace("port: 8080", f"port: {documented.http_port}")
    assert answer.json() == close(json.loads(shown))


def test_every_route_has_a_curl() -> None:
    assert {path.partition("?")[0] for path in PATHS} == {
        *ROUTES,
        "/reverify_mode",
        "/global_config_dict_yaml",
    }


def test_every_parameter_is_described() -> None:
    rows = PAGE.split("| parameter |")[1].split("\n\n")[0].splitlines()[2:]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(PARAMETERS)
