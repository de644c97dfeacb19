"""Another server as a world model, against a real gRPC server that serves the fake model."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from softverifier._pb import worldmodels_pb2 as pb
from worldmodels import fake, remote
from worldmodels.core import ModelFault, Queries, Status
from worldmodels.genes import GeneResolver
from worldmodels.registry import Source
from worldmodels.registry import load as load_any

GENES = GeneResolver.as_they_are()
DE = "perturbation.de"


class Server:
    """``WorldModels`` over the fake; ``twist`` changes a response before it leaves."""

    def __init__(self, port=0):
        source = Source(family="fake", name="screen", options={"unknown": "NO"})
        self.model = fake.load(source, GENES)
        self.requests = []
        self.twist = lambda response: response
        self.code = None
        self._pool = ThreadPoolExecutor(2)
        self._server = grpc.server(self._pool)
        handlers = {
            "Predict": grpc.unary_unary_rpc_method_handler(
                self._predict, pb.PredictRequest.FromString, pb.PredictResponse.SerializeToString
            ),
            "ListModels": grpc.unary_unary_rpc_method_handler(
                self._list, pb.ListModelsRequest.FromString, pb.ListModelsResponse.SerializeToString
            ),
        }
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("softverifier.v1.WorldModels", handlers)]
        )
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def stop(self):
        self._server.stop(None).wait()
        self._pool.shutdown()

    def _predict(self, request, context):
        self.requests.append(request)
        if self.code is not None:
            context.abort(self.code, "as asked")
        contexts = list(request.contexts) or [request.context] * len(request.subjects)
        subjects = [request.names[i] for i in request.subjects]
        objects = [request.names[i] for i in request.objects]
        found = self.model.predict(Queries(request.relation, subjects, objects, contexts))
        spec = self.model.spec
        response = pb.PredictResponse(
            p=found.p.tolist(),
            status=found.status.tobytes(),
            p0=found.p0.tolist(),
            uncertainty=found.uncertainty.tolist(),
            raw=found.raw.tolist(),
            model=spec.name,
            version=spec.version,
            digest=spec.digest,
        )
        return self.twist(response)

    def _list(self, request, context):
        spec = self.model.spec
        model = pb.Model(
            name=spec.name,
            family=spec.family,
            version=spec.version,
            digest=spec.digest,
            relations=spec.relations,
            contexts=["k562"],
            vocabulary=5,
            licence=spec.licence,
            training=spec.training,
            metrics={"auroc": 0.5},
        )
        return pb.ListModelsResponse(models=[model])


@pytest.fixture
def server():
    made = Server()
    yield made
    made.stop()


def source(server, **options):
    url = f"grpc://127.0.0.1:{server.port}"
    return Source(family="remote", name="far", options={"url": url, "model": "screen", **options})


@pytest.fixture
def model(server):
    made = load_any(source(server), GENES)
    yield made
    made.close()


def queries(n):
    subjects = [f"{'NO' if i % 7 == 3 else 'G'}{i % 50}" for i in range(n)]
    return Queries(DE, subjects, [f"R{i % 31}" for i in range(n)], ["k562"] * n)


@pytest.mark.parametrize("n", [0, 1, 9, 1000], ids=lambda n: f"{n}-rows")
def test_figures_pass_through_to_the_last_bit(server, model, n):
    here, there = server.model.predict(queries(n)), model.predict(queries(n))
    for name in ("p", "status", "p0", "uncertainty", "raw"):
        if n or name in ("p", "status"):
            np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
    assert len(server.requests) == (1 if n else 0)


def test_rows_travel_in_chunks_and_names_once(server, model, monkeypatch):
    monkeypatch.setattr(remote, "ROWS_PER_REQUEST", 400)
    np.testing.assert_array_equal(
        model.predict(queries(1000)).p, server.model.predict(queries(1000)).p
    )
    assert [len(request.subjects) for request in server.requests] == [400, 400, 200]
    assert all(len(set(request.names)) == len(request.names) <= 131 for request in server.requests)
    assert {request.context for request in server.requests} == {"k562"}


def test_one_name_for_several_servers_spreads_the_calls(server, monkeypatch):
    other = Server()
    addresses = f"ipv4:127.0.0.1:{server.port},127.0.0.1:{other.port}"
    open_channel = grpc.insecure_channel  # what a headless Service's name resolves to
    monkeypatch.setattr(
        grpc, "insecure_channel", lambda _, options: open_channel(addresses, options)
    )
    far = load_any(source(server), GENES)
    until = time.monotonic() + 10  # the second connection is made beside the first answers
    while not (server.requests and other.requests) and time.monotonic() < until:
        np.testing.assert_array_equal(far.predict(queries(9)).p, server.model.predict(queries(9)).p)
    asked = len(server.requests), len(other.requests)
    for _ in range(20):
        far.predict(queries(9))
    far.close()
    other.stop()
    assert (len(server.requests) - asked[0], len(other.requests) - asked[1]) == (10, 10)


def test_rows_with_contexts_of_their_own(server, model):
    asked = Queries(DE, ["A", "A"], ["B", "B"], ["k562", "rpe1"])
    np.testing.assert_array_equal(model.predict(asked).p, server.model.predict(asked).p)
    assert list(server.requests[0].contexts) == ["k562", "rpe1"]


def test_names_that_protobuf_cannot_carry(model):
    found = model.predict(Queries(DE, ["A\ud800", "é"], ["B", "\udfff"], ["", "\ud800"]))
    assert found.status.tolist() == [Status.OK, Status.OK]


def test_the_specification_says_that_it_is_remote_and_of_what(server, model):
    spec, there = model.spec, server.model.spec
    assert (spec.name, spec.family, spec.local) == ("far", "remote", False)
    assert spec.relations == there.relations
    assert spec.contexts == ("k562",)
    assert spec.digest != there.digest
    assert spec.metrics == {"auroc": 0.5}
    other = fake.load(Source(family="fake", name="screen", options={"version": "2"}), GENES)
    server.model = other
    again = load_any(source(server), GENES)
    assert again.spec.digest != spec.digest
    again.close()


def test_examples_are_answered_and_always_the_same(model):
    asked = model.examples(600)
    assert len(asked) == 600
    assert asked == model.examples(600)
    assert (model.predict(asked).status == Status.OK).all()


def test_a_model_that_was_replaced_is_noticed(server, model):
    model.predict(queries(3))
    server.model = fake.load(Source(family="fake", name="screen", options={"version": "2"}), GENES)
    with pytest.raises(ModelFault, match="restart this server"):
        model.predict(queries(3))


def drop(name, keep):
    def twist(response):
        values = getattr(response, name)
        if name == "status":
            response.status = values[:keep]
        else:
            del values[keep:]
        return response

    return twist


def put(name, row, value):
    def twist(response):
        if name == "status":
            response.status = bytes([value]) + response.status[1:]
        else:
            getattr(response, name)[row] = value
        return response

    return twist


def say(name, value):
    def twist(response):
        setattr(response, name, value)
        return response

    return twist


@pytest.mark.parametrize(
    ("twist", "words"),
    [
        (drop("p", 2), "2 figures"),
        (drop("status", 2), "2 statuses"),
        (drop("p0", 1), "1 of p0"),
        (put("status", 0, 99), "does not know"),
        (put("p", 0, float("nan")), "no probability"),
        (put("p", 0, 1.5), "no probability"),
        (put("status", 0, 1), "no probability"),
        (say("digest", "sha256:new"), "restart this server"),
        (say("genes", "another.tsv"), "resolves genes by 'another.tsv' now"),
    ],
    ids=[
        "short-p",
        "short-status",
        "short-p0",
        "status",
        "nan",
        "beyond-1",
        "p-without-ok",
        "digest",
        "gene-table",
    ],
)
def test_an_answer_that_is_none_is_refused(server, model, twist, words):
    server.twist = twist
    with pytest.raises(ModelFault, match=words):
        model.predict(queries(3))


def test_columns_that_the_model_lacks_stay_absent(server, model):
    server.twist = drop("p0", 0)
    assert model.predict(queries(3)).p0 is None


def test_a_server_that_goes_away_fails_fast_and_is_found_again(server, model, monkeypatch):
    port = server.port
    server.stop()
    with pytest.raises(ModelFault, match="UNAVAILABLE"):
        model.predict(queries(3))
    again = Server(port)
    with pytest.raises(ModelFault, match="UNAVAILABLE"):
        model.predict(queries(3))  # not even asked: the failure is a moment old
    assert again.requests == []
    monkeypatch.setattr(remote, "PAUSE_S", 0.0)
    deadline_tries = [None]
    for _ in range(50):
        try:
            deadline_tries[0] = model.predict(queries(3))
            break
        except ModelFault:
            grpc.channel_ready_future(model._channel).result(timeout=5)
    assert deadline_tries[0] is not None
    again.stop()


def test_a_refusal_names_the_reason(server, model):
    server.code = grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(ModelFault, match="INVALID_ARGUMENT: as asked"):
        model.predict(queries(1))
    server.code = None
    assert len(model.predict(queries(1))) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "http://x:1"}, "expected grpc"),
        ({"url": "grpc://x"}, "expected grpc"),
        ({"url": "grpc://x:99999"}, "expected grpc"),
        ({"model": "scren"}, "did you mean 'screen'"),
        ({"timeout_s": "soon"}, "timeout_s is 'soon'"),
        ({"timeout_s": "0"}, "timeout_s"),
        ({"modle": "x"}, "did you mean 'model'"),
        ({"url": "grpc://127.0.0.1:1", "timeout_s": "2"}, "Is that server up"),
        ({"url": "grpcs://127.0.0.1:1", "ca_file": "/nowhere.pem"}, "ca_file cannot be read"),
    ],
    ids=["scheme", "port", "bad-port", "model", "timeout", "zero", "option", "nobody", "ca"],
)
def test_options_that_cannot_work_are_named(server, options, words):
    with pytest.raises(ModelFault, match=words):
        load_any(source(server, **options), GENES)


def test_a_missing_url_is_named():
    with pytest.raises(ModelFault, match="url is None"):
        load_any(Source(family="remote", name="far"), GENES)


def test_a_closed_model_says_so(server):
    model = load_any(source(server), GENES)
    model.close()
    model.close()
    with pytest.raises(ModelFault, match=r"far.*closed"):
        model.predict(queries(1))


def test_a_forked_child_is_told_instead_of_hanging(model, monkeypatch):
    # A real fork beside this process's own gRPC server would hang for the server's sake.
    parent = model._process
    monkeypatch.setattr("os.getpid", lambda: parent + 1)
    with pytest.raises(ModelFault, match="forked"):
        model.predict(queries(1))
