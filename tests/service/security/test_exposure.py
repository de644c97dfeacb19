from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from keyed_server import add
from served import SETTINGS, write_profiles
from servers import ServerProcess
from service.errors import StartupFault
from service.process_settings import Admin
from service.security.exposure import check, is_loopback
from service.settings import Settings


@pytest.mark.parametrize(
    ("host", "ours"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False),
     ("127.0.0.1.example.org", False), ("", False), ("fe80::1%eth0", False)],
)  # fmt: skip
def test_what_only_this_machine_reaches(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours


def configured(host: str, **security: object) -> Settings:
    return Settings(server={"host": host}, security=security)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1"])
def test_other_machines_are_not_served_unasked(host: str) -> None:
    with pytest.raises(StartupFault) as fault:
        check(configured(host))
    for word in ("soft-verifier keys create", "SOFT_VERIFIER_SECURITY__KEYS", "--insecure", host):
        assert word in str(fault.value)


@pytest.mark.parametrize(
    ("host", "security", "said"),
    [
        ("127.0.0.1", {}, []),
        ("0.0.0.0", {"insecure": True}, ["INSECURE"]),
        ("0.0.0.0", {"keys": "k"}, ["unencrypted"]),
        ("0.0.0.0", {"keys": "k", "certificate": "c", "private_key": "p"}, []),
        ("0.0.0.0", {"certificate": "c", "private_key": "p", "client_ca": "a"}, []),
    ],
    ids=["loopback", "insecure", "keys", "keys and TLS", "mutual TLS"],
)
def test_what_is_said_at_the_start(host: str, security: dict[str, object], said: list[str]) -> None:
    remarks = check(configured(host, **security))
    assert len(remarks) == len(said)
    for remark, word in zip(remarks, said, strict=True):
        assert word in remark


@pytest.mark.parametrize("enabled", [True, False])
def test_who_may_change_the_server_unasked_is_said(enabled: bool) -> None:
    settings = configured("0.0.0.0", insecure=True)
    opened = settings.model_copy(update={"admin": Admin(enabled=enabled)})
    (remark,) = check(opened)
    assert ("admin.enabled" in remark) == enabled


def test_tls_alone_asks_nobody_who_he_is() -> None:
    with pytest.raises(StartupFault, match="nobody would be asked"):
        check(configured("0.0.0.0", certificate="c", private_key="p"))


def test_serve_refuses_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service", "serve", "--host", "0.0.0.0", "--workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "nobody would be asked for a key" in done.stderr
    assert list(tmp_path.iterdir()) == []  # not even the starter model was built


@pytest.mark.parametrize("how", ["insecure", "keys"])
def test_serve_starts_when_it_is_told_how(tmp_path: Path, how: str) -> None:
    write_profiles(tmp_path)
    options = ["--host", "0.0.0.0"]
    settings = SETTINGS
    if how == "insecure":
        options.append("--insecure")
    else:
        add(tmp_path, "a", ["score"])
        settings += '[security]\nkeys = "keys.toml"\n'
    server = ServerProcess(tmp_path, settings, *options)
    try:
        server.start()
        word = "INSECURE" if how == "insecure" else "keys travel to 0.0.0.0 unencrypted"
        assert word in server.log()
    finally:
        server.stop()
