"""The compose file: what it mounts exists, its ports are the server's, its settings are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from overlays import REPOSITORY
from service import settings

DEPLOY = REPOSITORY / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SERVERS = ("server", "server-gpu")
SERVER = settings.Settings().server
_VARIABLE = re.compile(r"\$\{(\w+):?-([^}]*)\}")


def by_default(text: str) -> str:
    """A value with the defaults of its variables."""
    return _VARIABLE.sub(lambda match: match[2], text)


def mounts(service: str) -> list[tuple[str, str, bool]]:
    """What is mounted where, and whether it may only be read."""
    found = []
    for entry in SERVICES[service].get("volumes", []):
        source, target, *mode = by_default(entry).split(":")
        found.append((source, target, mode == ["ro"]))
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_mounted_is_there(service: str) -> None:
    for source, _, read_only in mounts(service):
        if source.startswith("."):
            assert (DEPLOY / source).exists(), source
            assert read_only
        else:
            assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("service", SERVICES)
def test_services_give_up_what_they_need_not(service: str) -> None:
    assert SERVICES[service]["cap_drop"] == ["ALL"]
    assert SERVICES[service]["security_opt"] == ["no-new-privileges"]
    for port in SERVICES[service].get("ports", []):
        assert by_default(port).startswith("127.0.0.1:")


@pytest.mark.parametrize("service", SERVERS)
def test_a_server_is_published_on_its_own_ports_and_read_only(service: str) -> None:
    stated = SERVICES[service]
    inside = [by_default(port).split(":")[1:] for port in stated["ports"]]
    assert inside == [[str(SERVER.http_port)] * 2, [str(SERVER.grpc_port)] * 2]
    assert stated["read_only"] is True
    assert stated["tmpfs"] == ["/tmp"]
    assert stated["networks"]["default"]["aliases"] == ["server"]


def test_each_profile_starts_one_server_and_cpu_is_the_default() -> None:
    assert [SERVICES[name]["profiles"] for name in SERVERS] == [["cpu"], ["gpu"]]
    assert not any("profiles" in SERVICES[name] for name in set(SERVICES) - set(SERVERS))
    lines = (DEPLOY / ".env").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["COMPOSE_PROFILES=cpu"]
    reserved = SERVICES["server-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert reserved[0]["driver"] == "nvidia"
    assert reserved[0]["capabilities"] == ["gpu"]


@pytest.mark.parametrize("service", SERVERS)
def test_the_servers_settings_are_read(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES[service]["environment"].items():
        monkeypatch.setenv(name, value)
    (file,) = [source for source, target, _ in mounts(service)
               if target == "/etc/soft-verifier/soft-verifier.toml"]  # fmt: skip
    assert SERVICES[service]["command"][-1] == "/etc/soft-verifier/soft-verifier.toml"
    loaded = settings.load(DEPLOY / file)
    assert loaded.cache.redis_url == "redis://redis:6379/0"
    seconds = int(SERVICES[service]["stop_grace_period"].removesuffix("s"))
    assert loaded.server.grace_s + 5 <= seconds


def test_what_the_settings_show_as_a_comment_is_right(tmp_path: Path) -> None:
    text = (DEPLOY / "soft-verifier.toml").read_text()
    shown = re.findall(r"^# (\[\[models\]\]|\[audit\])\n# (path = .+)$", text, re.MULTILINE)
    (tmp_path / "all.toml").write_text("\n".join(line for pair in shown for line in pair))
    loaded = settings.load(tmp_path / "all.toml")
    targets = [target for _, target, _ in mounts("server")]
    assert loaded.audit.path is not None
    assert str(loaded.audit.path.parent) in targets
    assert [entry.path is not None and str(entry.path.parent) in targets
            for entry in loaded.models] == [True]  # fmt: skip


def test_prometheus_scrapes_the_server_and_grafana_asks_prometheus() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    (job,) = scraped["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"server:{SERVER.http_port}"]}]
    assert scraped["rule_files"] == ["rules.yaml"]
    folder = DEPLOY / "grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    provider = yaml.safe_load((folder / "dashboards/soft-verifier.yaml").read_text())["providers"]
    targets = [target for _, target, _ in mounts("grafana")]
    assert provider[0]["options"]["path"] in targets
