"""Cards over HTTP and gRPC: the current one in both forms, none that is stale or damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest

from carded import held_out, make_card, train
from servers import ServerProcess, get
from service import app, cards, settings
from service.errors import StartupFault
from softverifier._pb import worldmodels_pb2 as wm
from worldmodels.cards import record
from worldmodels.core import ModelSpec

NAME = "μ tiny"
CONFIG = """
[starter]
enabled = false
[work]
warm = false
[[models]]
path = "tiny"
name = "μ tiny"
[[models]]
family = "fake"
name = "fake"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model with its card."""
    made = tmp_path_factory.mktemp("cards")
    tables = held_out(made)
    model = train(made, tables)
    code, output = make_card(model, "--data", *tables, "--shuffle-control", 2, "--resamples", 5)
    assert code == 0, output
    return made


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[ServerProcess]:
    running = ServerProcess(folder, CONFIG).start()
    yield running
    running.stop()


def _url(served: ServerProcess, rest: str = "", name: str = NAME) -> str:
    return f"{served.url}/v1/models/{quote(name)}/card{rest}"


def test_as_json(served: ServerProcess, folder: Path) -> None:
    found = get(_url(served))
    assert found.status_code == 200
    assert found.headers["content-type"] == "application/json"
    assert found.content == (folder / "tiny" / "card.json").read_bytes()


@pytest.mark.parametrize(
    ("rest", "accept"),
    [
        pytest.param("?format=md", "application/json", id="asked for"),
        pytest.param("", "text/markdown", id="accepted"),
    ],
)
def test_as_markdown(served: ServerProcess, rest: str, accept: str) -> None:
    found = get(_url(served, rest), headers={"accept": accept})
    assert found.headers["content-type"] == "text/markdown; charset=utf-8"
    assert found.text.startswith("# Card of tiny\n")
    assert "](card/roc.svg)" in found.text


@pytest.mark.parametrize("name", ["roc", "reliability", "risk-coverage", "lines", "card-lines"])
def test_figures(served: ServerProcess, folder: Path, name: str) -> None:
    found = get(_url(served, f"/{name}.svg"))
    assert found.headers["content-type"] == "image/svg+xml"
    file = f"card-{name.removeprefix('card-')}.svg"
    assert found.content == (folder / "tiny" / file).read_bytes()


def test_the_list_of_models_shows_what_a_card_comes_to(served: ServerProcess) -> None:
    listed = get(f"{served.url}/v1/models").json()["models"]
    shown = {one["name"]: one["card"] for one in listed}
    assert shown["fake"] is None
    assert shown[NAME]["evidence"] is True
    assert 0 < shown[NAME]["per_gene_auroc"]["perturbation.de"] < 1
    assert get(served.url + shown[NAME]["url"]).status_code == 200
    assert get(f"{served.url}/v1/models/{quote(NAME)}").json()["card"] == shown[NAME]


def test_grpc_says_the_same(served: ServerProcess) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        ask = channel.unary_unary(
            "/softverifier.v1.WorldModels/ListModels",
            request_serializer=wm.ListModelsRequest.SerializeToString,
            response_deserializer=wm.ListModelsResponse.FromString,
        )
        listed = {one.name: one.card for one in ask(wm.ListModelsRequest(), timeout=10).models}
    assert listed["fake"] == ""
    over_http = get(f"{served.url}/v1/models/{quote(NAME)}").json()["card"]
    assert json.loads(listed[NAME]) == over_http


@pytest.mark.parametrize(
    ("rest", "name", "status", "says"),
    [
        pytest.param("", "fake", 404, "has no card here; make one", id="no card"),
        pytest.param("", "nodel", 404, "unknown model 'nodel'", id="no model"),
        pytest.param("?format=pdf", NAME, 422, "expected json or md", id="no form"),
        pytest.param("/pie.svg", NAME, 404, "unknown figure 'pie.svg'", id="no figure"),
        pytest.param("/..%2Fmanifest.toml", NAME, 404, "", id="another file"),
        pytest.param("/roc.svg", "fake", 404, "has no card here", id="figure without card"),
    ],
)
def test_what_is_not_there(
    served: ServerProcess, rest: str, name: str, status: int, says: str
) -> None:
    found = get(_url(served, rest, name))
    assert found.status_code == status
    assert says in found.json()["error"]["message"]


def _stale(content: dict[str, Any]) -> None:
    content["model"]["digest"] = "sha256:" + "0" * 64


def _newer(content: dict[str, Any]) -> None:
    content["schema"] = 2


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        pytest.param(_stale, 409, "is stale: it was made for sha256:000000000000…", id="stale"),
        pytest.param(_newer, 404, "the card's schema is 2", id="newer"),
        pytest.param(None, 404, "damaged card", id="damaged"),
    ],
)
def test_a_card_that_does_not_count_is_not_served(
    served: ServerProcess, folder: Path, change: Any, status: int, says: str
) -> None:
    path = folder / "tiny" / "card.json"
    whole = path.read_bytes()
    content = json.loads(whole)
    if change:
        change(content)
    try:
        path.write_text(json.dumps(content) if change else "{}")
        for rest in ("", "?format=md", "/roc.svg"):
            found = get(_url(served, rest))
            assert found.status_code == status
            assert says in found.json()["error"]["message"]
            assert "soft-verifier card" in found.json()["error"]["message"]
        assert says in get(f"{served.url}/v1/models/{quote(NAME)}").json()["card"]["fault"]
    finally:
        path.write_bytes(whole)
    assert get(_url(served)).content == whole, "a card that is mended is seen at once"


def test_a_server_may_require_cards(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    config = folder / "strict.toml"
    config.write_text(f"{CONFIG}\n[server]\nrequire_card = true\n")
    with pytest.raises(StartupFault, match=r"'fake': has no card; server\.require_card is set"):
        app.build(settings.load(config))
    config.write_text(f"{CONFIG}allow_uncarded = true\n[server]\nrequire_card = true\n")
    told: list[str] = []
    app.build(settings.load(config), told.append)
    assert "card of 20" in told[0]
    assert told[0].endswith("(evidence)")
    assert told[1].endswith("no card")


def test_a_card_of_training_rows_is_no_licence(folder: Path, tmp_path: Path) -> None:
    whole = json.loads((folder / "tiny" / "card.json").read_text())
    path = tmp_path / record.FILE
    path.write_text(json.dumps({**whole, "evidence": False}))
    spec = ModelSpec(
        name="m",
        family="pair-mlp",
        version="1",
        digest=whole["model"]["digest"],
        relations=("perturbation.de",),
        card=str(path),
    )
    with pytest.raises(StartupFault, match="has a card of data that it was trained on"):
        cards.require(spec)
    assert cards.described(spec).endswith("(NOT evidence)")


@pytest.mark.parametrize(
    ("card", "shown"),
    [
        pytest.param(
            '{"evidence": true, "per_gene_auroc": {}, "url": "/v1/models/x/card"}',
            {"evidence": True, "per_gene_auroc": {}, "url": None},
            id="a summary",
        ),
        pytest.param("/srv/models/x/card.json", None, id="a path, as older servers say"),
        pytest.param("[]", None, id="no object"),
        pytest.param('{"per_gene_auroc": {"perturbation.de": NaN}}', None, id="no JSON: NaN"),
        pytest.param('{"date": "\\ud800"}', None, id="no text: half a character"),
        pytest.param(None, None, id="none"),
    ],
)
def test_a_remote_model_shows_what_its_server_says(card: str | None, shown: Any) -> None:
    spec = ModelSpec(
        name="far",
        family="remote",
        version="1",
        digest="sha256:1",
        relations=("perturbation.de",),
        local=False,
        card=card,
    )
    assert cards.summary(spec) == shown


def test_a_remote_card_does_not_write_to_the_terminal() -> None:
    spec = ModelSpec(
        name="far",
        family="remote",
        version="1",
        digest="sha256:1",
        relations=("perturbation.de",),
        local=False,
        card='{"evidence": true, "date": "\\u001b[2J"}',
    )
    assert cards.described(spec) == "card of unknown date (evidence)"
