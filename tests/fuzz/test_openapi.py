"""What ``/openapi.json`` promises, held against what a live server answers to it and to its breach.

``FUZZ_EXAMPLES=300 pytest tests/fuzz`` goes deeper: so many tries of each kind, others every time.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
)

from keyed_server import add, keyed_server
from servers import ServerProcess, get
from service.front.description import DESCRIBED

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "12"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
PROFILES = ["rbio-mlp", "rbio-released", "ether0", "chem-design", "cell-o1", "assaybench"]
ROUTES = sorted(DESCRIBED)
RIGHT, WRONG = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
CASES = {f"as described {path}": (path, RIGHT) for path in ROUTES} | {
    f"not as described {path}": (path, WRONG)
    for path in ROUTES
    if DESCRIBED[path].body is not None or path.endswith("/card")  # elsewhere nothing can be wrong
}


@functools.cache
def schema(url: str) -> Any:
    return schemathesis.openapi.from_url(f"{url}/openapi.json")


def operation(url: str, path: str) -> Any:
    reads = DESCRIBED[path].body is None and not path.endswith("/reload")
    return schema(url)[path]["GET" if reads else "POST"]


def aimed(case: Any, data: st.DataObject) -> Any:
    """The case, past the door: the name of a profile or model that there is, mostly."""
    if not data.draw(st.integers(0, 3)):
        return case
    profile = st.sampled_from(PROFILES)
    if isinstance(case.body, dict) and "profile" in case.body:
        case.body["profile"] = data.draw(profile)
    if isinstance(case.body, dict) and "model" in case.body:
        case.body["model"] = "fake"
        case.body["relation"] = "perturbation.de"
    if case.query is not None and "trainers" in case.operation.definition.raw.get("tags", []):
        case.query["profile"] = data.draw(profile)
    if case.path_parameters and "name" in case.path_parameters:
        case.path_parameters["name"] = data.draw(st.sampled_from([*PROFILES, "fake"]))
    return case


def test_every_route_is_described(inline_server: ServerProcess) -> None:
    assert sorted(get(f"{inline_server.url}/openapi.json").json()["paths"]) == ROUTES


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str]]:
    """A server that asks for keys, and one that may do everything but change it."""
    server, _ = keyed_server(tmp_path_factory.mktemp("keyed"))
    key = add(server.folder, "reader", ["score", "predict", "metrics"])
    yield server.start(), key
    server.stop()


@pytest.mark.parametrize("path", [one for one in ROUTES if not one.endswith("/reload")])
def test_nobody_is_let_in_whom_the_description_keeps_out(
    keyed: tuple[ServerProcess, str], path: str
) -> None:
    server, key = keyed
    head = {"Authorization": f"Bearer {key}"}
    described = schemathesis.openapi.from_url(f"{server.url}/openapi.json", headers=head)
    described.config.generation.update(with_security_parameters=False)  # ours, not made ones
    method = "GET" if DESCRIBED[path].body is None else "POST"

    @given(case=described[path][method].as_strategy(generation_mode=RIGHT))
    @settings(max_examples=2, deadline=None, derandomize=True, database=None)
    def asked(case: Any) -> None:
        response = case.call(timeout=30, headers=head)
        assert response.status_code not in (401, 403)
        # Asks again, with none and with another.
        case.validate_response(response, checks=[ignored_auth], headers=head)

    asked()


@pytest.mark.parametrize(("path", "mode"), CASES.values(), ids=CASES)
def test_answers_are_as_described(inline_server: ServerProcess, path: str, mode: Any) -> None:
    cases = operation(inline_server.url, path).as_strategy(generation_mode=mode)

    @given(case=cases, data=st.data())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def asked(case: Any, data: st.DataObject) -> None:
        case = aimed(case, data)
        response = case.call(timeout=30)
        if response.status_code in (503, 504) and b"deadline" in response.content:
            return  # what it asked for could not be had in the time that it gave
        case.validate_response(response, checks=CHECKS)

    asked()
