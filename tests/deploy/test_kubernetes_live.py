"""What the overlays ask of a server, asked of one that runs: probes, and series of autoscalers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from overlays import KUBERNETES, OVERLAYS, of_kind, pod, ports, rendered, workloads
from servers import ServerProcess, get, post

overlays = pytest.mark.parametrize("overlay", OVERLAYS)


def queries() -> Iterator[tuple[str, str]]:
    """Every PromQL that the manifests hold, with where it stands."""
    for overlay in OVERLAYS:
        for one in of_kind(rendered(overlay), "ScaledObject"):
            for trigger in one["spec"]["triggers"]:
                yield overlay, trigger["metadata"]["query"]
    for rule in adapter()["rules"]["custom"]:
        yield "adapter", rule["seriesQuery"]
        yield "adapter", rule["metricsQuery"]


def adapter() -> Any:
    """The values for the Prometheus adapter."""
    return yaml.safe_load((KUBERNETES / "components/hpa/prometheus-adapter.yaml").read_text())


def test_autoscalers_ask_for_series_that_there_are(server: ServerProcess) -> None:
    body = {"model": "slow", "relation": "perturbation.de", "context": "k562",
            "subjects": ["AARS"], "objects": ["CALR"]}  # fmt: skip
    assert post(f"{server.url}/v1/predict", json=body).status_code == 200
    live = set(re.findall(r"^(softverifier_\w+)", get(f"{server.url}/metrics").text, re.MULTILINE))
    asked = {name for _, query in queries() for name in re.findall(r"softverifier_\w+", query)}
    assert asked
    assert asked <= live


def test_the_autoscaler_asks_for_what_the_adapter_makes() -> None:
    made = {rule["name"]["as"] for rule in adapter()["rules"]["custom"]}
    for overlay in ("cpu", "disaggregated"):
        for scaler in of_kind(rendered(overlay), "HorizontalPodAutoscaler"):
            asked = {metric["pods"]["metric"]["name"] for metric in scaler["spec"]["metrics"]
                     if metric["type"] == "Pods"}  # fmt: skip
            assert asked == made


@overlays
def test_probes_ask_what_the_server_answers(overlay: str, server: ServerProcess) -> None:
    manifests = rendered(overlay)
    for workload in workloads(manifests):
        container = pod(workload)["containers"][0]
        if container["name"] != "server":
            continue
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["port"] in ports(workload)
            assert get(server.url + asked["path"]).status_code == 200
    for monitor in of_kind(manifests, "ServiceMonitor"):
        for endpoint in monitor["spec"]["endpoints"]:
            assert get(server.url + endpoint["path"]).status_code == 200
