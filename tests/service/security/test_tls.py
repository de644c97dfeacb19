from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from certificates import Authority, with_passphrase
from keyed_server import keyed_server
from servers import RedisProcess, wait_until
from service.errors import StartupFault
from service.metrics import Metrics
from service.security import way_in
from service.settings import Settings
from softverifier import RewardClient
from softverifier._pb import worldmodels_pb2 as wm
from softverifier.errors import ServerUnavailable, UsageError
from worldmodels import registry
from worldmodels.core import ModelFault, Queries
from worldmodels.genes import GeneResolver

THINK = "<think>AARS charges tRNA and CALR is folded in the ER, so stress may reach it.</think>"
TASK = {"type": "perturbation.de", "perturbation": "AARS1", "gene": "CALR", "cell_line": "k562"}
ITEM = {"completion": f"{THINK}<answer>yes</answer>", "task": TASK}
SCORE = {"profile": "rbio-mlp", "items": [ITEM]}


class Served:
    """A server with mutual TLS and keys, whose files a test may change."""

    def __init__(self, folder: Path, redis: RedisProcess) -> None:
        self.authority = Authority(folder, "authority")
        self.stranger = Authority(folder, "stranger")
        self.first, self.second = self.authority.sign("first"), self.authority.sign("second")
        self.client = self.authority.sign("client")
        self.foreign = self.stranger.sign("foreign")
        shutil.copy(self.first[0], folder / "server.pem")
        shutil.copy(self.first[1], folder / "server.key")
        shutil.copy(self.authority.certificate, folder / "clients.pem")
        settings = f"""
[security]
keys = "keys.toml"
open_metrics = true
certificate = "server.pem"
private_key = "server.key"
client_ca = "clients.pem"
[connections]
header_s = 5
[cache]
redis_url = "{redis.url}"
"""
        self.server, self.keys = keyed_server(folder, settings)

    def context(self, pair: tuple[Path, Path] | None, **more: Any) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        if pair is not None:
            context.load_cert_chain(*pair)
        for name, value in more.items():
            setattr(context, name, value)
        return context

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server.http_port}"

    def channel(self, pair: tuple[Path, Path] | None) -> grpc.Channel:
        chain, key = (None, None) if pair is None else (path.read_bytes() for path in pair)
        roots = self.authority.certificate.read_bytes()
        credentials = grpc.ssl_channel_credentials(roots, key, chain)
        return grpc.secure_channel(f"127.0.0.1:{self.server.grpc_port}", credentials)

    def shown(self, port: int) -> str:
        """The name in the certificate that a port shows now."""
        context = self.context(self.client)
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
        ):
            found = wrapped.getpeercert()
            assert found is not None
            return str(found["subject"][0][0][1])


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisProcess
) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("tls"), redis_server)
    made.server.start()
    yield made
    made.server.stop()


def ask(served: Served, context: ssl.SSLContext, **headers: str) -> int:
    with httpx.Client(base_url=served.url, verify=context, timeout=20) as client:
        return client.post("/v1/score", json=SCORE, headers=headers).status_code


def predict(channel: grpc.Channel, key: str | None) -> str:
    metadata = [] if key is None else [("authorization", f"Bearer {key}")]
    request = wm.ListModelsRequest().SerializeToString()
    with contextlib.closing(channel):
        try:
            channel.unary_unary("/softverifier.v1.WorldModels/ListModels")(
                request, metadata=metadata, timeout=10
            )
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def test_certificate_and_key_are_both_asked_for_over_http(served: Served) -> None:
    key = {"authorization": f"Bearer {served.keys['score']}"}
    assert ask(served, served.context(served.client), **key) == 200
    assert ask(served, served.context(served.client)) == 401
    assert ask(served, served.context(None), **key) == 401
    with pytest.raises(httpx.TransportError):
        ask(served, served.context(served.foreign), **key)


@pytest.mark.parametrize(
    ("path", "code"),
    [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/v1/models", 401), ("/", 401)],
)
def test_who_shows_no_certificate_learns_the_health_only(
    served: Served, path: str, code: int
) -> None:
    with httpx.Client(base_url=served.url, verify=served.context(None)) as client:
        answer = client.get(path, headers={"authorization": f"Bearer {served.keys['score']}"})
    assert answer.status_code == code
    if code == 401:
        assert "client certificate" in answer.json()["error"]["message"]


def test_certificate_and_key_are_both_asked_for_over_grpc(served: Served) -> None:
    key = served.keys["score"]
    assert predict(served.channel(served.client), key) == "OK"
    assert predict(served.channel(served.client), None) == "UNAUTHENTICATED"
    assert predict(served.channel(None), key) == "UNAVAILABLE"
    assert predict(served.channel(served.foreign), key) == "UNAVAILABLE"


@pytest.mark.parametrize("port", ["http", "grpc"])
def test_old_versions_of_tls_and_plain_text_are_refused(served: Served, port: str) -> None:
    number = served.server.http_port if port == "http" else served.server.grpc_port
    context = served.context(served.client)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", number), timeout=10) as plain,
        pytest.raises((ssl.SSLError, OSError)),
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")
    with socket.create_connection(("127.0.0.1", number), timeout=10) as plain:
        plain.settimeout(20)
        plain.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP/1.1 2" not in plain.recv(1000)


@pytest.mark.parametrize("port", ["http", "grpc"])
def test_who_never_shakes_hands_is_cut_off(served: Served, port: str) -> None:
    number = served.server.http_port if port == "http" else served.server.grpc_port
    with (
        socket.create_connection(("127.0.0.1", number), timeout=20) as plain,
        contextlib.suppress(ConnectionResetError),
    ):
        while plain.recv(100):  # gRPC says its settings first
            pass


def test_a_new_certificate_is_served_without_dropping_connections(served: Served) -> None:
    folder = served.server.folder
    key = {"authorization": f"Bearer {served.keys['score']}"}
    ports = (served.server.http_port, served.server.grpc_port)
    assert [served.shown(port) for port in ports] == ["first", "first"]
    roots = served.authority.certificate.read_bytes()
    metadata = [("authorization", f"Bearer {served.keys['score']}")]
    request = wm.ListModelsRequest().SerializeToString()
    with (
        httpx.Client(base_url=served.url, verify=served.context(served.client)) as client,
        served.channel(served.client) as channel,
    ):
        listing = channel.unary_unary("/softverifier.v1.WorldModels/ListModels")
        listing(request, metadata=metadata, timeout=10)
        assert client.post("/v1/score", json=SCORE, headers=key).status_code == 200
        (folder / "server.pem").write_text("half a cert")
        wait_until(lambda: "not renewed" in served.server.log(), 10, "a damaged file is not told")
        assert served.shown(ports[0]) == "first"
        shutil.copy(served.second[0], folder / "server.pem")
        shutil.copy(served.second[1], folder / "server.key")
        for port in ports:
            wait_until(lambda p=port: served.shown(p) == "second", 10, "not renewed")  # type: ignore[misc]
        sockets = client._transport._pool.connections  # type: ignore[attr-defined]
        before = list(map(id, sockets))
        assert client.post("/v1/score", json=SCORE, headers=key).status_code == 200
        assert list(map(id, sockets)) == before
        listing(request, metadata=metadata, timeout=10)
    assert roots


def test_another_authority_counts_for_new_connections(served: Served) -> None:
    folder = served.server.folder
    key = served.keys["score"]
    header = {"authorization": f"Bearer {key}"}
    shutil.copy(served.stranger.certificate, folder / "clients.pem")

    def foreign() -> bool:
        try:
            return ask(served, served.context(served.foreign), **header) == 200
        except httpx.TransportError:
            return False

    wait_until(foreign, 10, "the new authority does not count")
    with pytest.raises(httpx.TransportError):
        ask(served, served.context(served.client), **header)
    assert predict(served.channel(served.foreign), key) == "OK"
    assert predict(served.channel(served.client), key) == "UNAVAILABLE"
    shutil.copy(served.authority.certificate, folder / "clients.pem")
    wait_until(lambda: predict(served.channel(served.client), key) == "OK", 10, "not back")


def test_limits_hold_over_tls_with_redis(served: Served) -> None:
    with httpx.Client(
        base_url=served.url,
        verify=served.context(served.client),
        headers={"authorization": f"Bearer {served.keys['few']}"},
    ) as client:
        codes = [client.post("/v1/score", json=SCORE).status_code for _ in range(7)]
    assert codes == [200] * 5 + [429] * 2


@pytest.mark.parametrize("wire", ["https", "grpcs"])
def test_our_client_shows_its_certificate(served: Served, wire: str) -> None:
    port = served.server.http_port if wire == "https" else served.server.grpc_port
    url = f"{wire}://127.0.0.1:{port}"
    chain, key = map(str, served.client)
    more: dict[str, Any] = {
        "api_key": served.keys["score"], "profile": "rbio-mlp", "retries": 0,
        "ca_file": str(served.authority.certificate),
    }  # fmt: skip
    with RewardClient(url, cert_file=chain, key_file=key, **more) as client:
        assert client.score([ITEM])[0].status == "ok"
    more["ca_file"] = str(served.stranger.certificate)
    with (
        RewardClient(url, cert_file=chain, key_file=key, **more) as client,
        pytest.raises(ServerUnavailable),
    ):
        client.score([ITEM])


def test_our_client_says_what_is_wrong_with_its_files(served: Served) -> None:
    with pytest.raises(UsageError, match="belong together"):
        RewardClient(served.url, cert_file="a.pem")
    with (
        RewardClient(served.url, ca_file="/nowhere.pem") as client,
        pytest.raises(UsageError, match=r"nowhere\.pem"),
    ):
        client.models()
    with (
        RewardClient("grpcs://127.0.0.1:1", ca_file="/nowhere.pem") as client,
        pytest.raises(UsageError, match=r"nowhere\.pem"),
    ):
        client.models()


def test_a_front_end_reaches_models_over_mutual_tls(served: Served, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(served.keys["predict"] + "\n")
    chain, key = map(str, served.client)
    options = {
        "url": f"grpcs://127.0.0.1:{served.server.grpc_port}",
        "ca_file": str(served.authority.certificate),
        "cert_file": chain,
        "key_file": key,
        "token_file": str(token),
    }
    source = registry.Source(family="remote", name="fake", options=options)
    model = registry.load(source, GeneResolver.as_they_are())
    found = model.predict(Queries("perturbation.de", ["AARS1"], ["CALR"], ["k562"]))
    assert 0 <= found.p[0] <= 1
    token.write_text(served.keys["score"])
    with pytest.raises(ModelFault, match="has no scope 'predict'"):
        registry.load(source, GeneResolver.as_they_are()).predict(
            Queries("perturbation.de", ["AARS1"], ["CALR"], ["k562"])
        )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    authority = Authority(folder, "authority")
    good, other = authority.sign("good"), authority.sign("other")
    ended = authority.sign("ended", days=-1)
    text = folder / "text"
    text.write_text("hello\n")
    return {
        "certificate": good[0], "key": good[1], "other": other[1], "ended": ended[0],
        "ended key": ended[1], "protected": with_passphrase(good[1]), "text": text,
        "nowhere": folder / "nowhere", "authority": authority.certificate,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"certificate": "nowhere", "private_key": "key"}, "security.certificate: .* No such"),
        ({"certificate": "certificate", "private_key": "nowhere"}, "security.private_key: .* No"),
        ({"certificate": "text", "private_key": "key"}, "holds no PEM certificate"),
        ({"certificate": "certificate", "private_key": "text"}, "holds no PEM private key"),
        ({"certificate": "certificate", "private_key": "other"}, "is not the key of the first"),
        ({"certificate": "certificate", "private_key": "protected"}, "by a passphrase"),
        ({"certificate": "ended", "private_key": "ended key"}, "expired; renew it"),
        ({"certificate": "certificate", "private_key": "key", "client_ca": "text"}, "client_ca"),
        ({"certificate": "certificate"}, "security.private_key is not set"),
        ({"private_key": "key"}, "security.certificate is not set"),
        ({"client_ca": "authority"}, "which needs TLS"),
    ],
    ids=lambda value: "+".join(value.values()) if isinstance(value, dict) else "",
)
def test_files_that_do_not_do_are_named(
    files: dict[str, Path], settings: dict[str, str], said: str
) -> None:
    named = {name: files[file] for name, file in settings.items()}
    with pytest.raises(StartupFault, match=said):
        way_in.build(Settings(security=named), Metrics())  # type: ignore[arg-type]


def test_a_good_certificate_says_when_it_ends(files: dict[str, Path]) -> None:
    metrics = Metrics()
    named = {"certificate": files["certificate"], "private_key": files["key"]}
    made = way_in.build(Settings(security=named), metrics)  # type: ignore[arg-type]
    assert made.certificates is not None
    assert b"softverifier_certificate_expires_seconds" in metrics.expose()
