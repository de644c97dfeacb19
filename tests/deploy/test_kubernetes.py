"""The overlays: valid for Kubernetes, and every name in them leads somewhere."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import pytest

from overlays import (
    OVERLAYS,
    Manifest,
    containers,
    labels,
    named,
    of_kind,
    pod,
    ports,
    rendered,
    workloads,
)
from reachability import selects
from service import settings

VERSIONS = ("1.29.0", kubernetes_validate.latest_version())
SCHEMAS = {file.stem: json.loads(file.read_text()) for file in
           (Path(__file__).parent / "schemas").glob("*.json")}  # fmt: skip
SERVER = settings.Settings().server
overlays = pytest.mark.parametrize("overlay", OVERLAYS)


def ours(manifests: list[Manifest]) -> list[Manifest]:
    """The Deployments of our own server."""
    return [one for one in of_kind(manifests, "Deployment")
            if labels(one)["app.kubernetes.io/name"] == "soft-verifier"]  # fmt: skip


def serves(service: Manifest, workload: Manifest) -> bool:
    """Whether the Service leads to the workload's pods."""
    return selects({"matchLabels": service["spec"]["selector"]}, labels(workload))


def check(manifest: Manifest, version: str) -> None:
    """Raises for a manifest that a cluster would refuse; unknown fields are refused too."""
    schema = SCHEMAS.get(manifest["kind"])
    if schema is not None:
        jsonschema.validate(manifest, schema)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@overlays
def test_kubernetes_takes_every_manifest(overlay: str, version: str) -> None:
    for manifest in rendered(overlay):
        check(manifest, version)


@pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget", "NetworkPolicy",
                                  "ServiceMonitor", "PrometheusRule", "ScaledObject"])  # fmt: skip
def test_a_wrong_field_is_found(kind: str) -> None:
    manifest = copy.deepcopy(of_kind(rendered("gpu"), kind)[0])
    check(manifest, VERSIONS[-1])
    manifest["spec"]["slector"] = {}
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(manifest, VERSIONS[-1])


@overlays
def test_all_of_it_is_in_one_restricted_namespace(overlay: str) -> None:
    manifests = rendered(overlay)
    space = named(manifests, "Namespace", "soft-verifier")
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for manifest in manifests:
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == "soft-verifier", manifest["metadata"]


@overlays
def test_pods_fit_the_restricted_profile(overlay: str) -> None:
    for workload in workloads(rendered(overlay)):
        spec = pod(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
        for container in containers(workload):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


@overlays
def test_services_lead_to_pods_and_to_the_servers_ports(overlay: str) -> None:
    manifests = rendered(overlay)
    for service in of_kind(manifests, "Service"):
        fitting = [one for one in workloads(manifests) if serves(service, one)]
        assert len(fitting) == 1, service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            assert ports(fitting[0])[port["targetPort"]] == port["port"]
    for workload in ours(manifests):
        assert ports(workload) == {"http": SERVER.http_port, "grpc": SERVER.grpc_port}


@overlays
def test_a_headless_service_spreads_grpc(overlay: str) -> None:
    for workload in ours(manifests := rendered(overlay)):
        services = [one for one in of_kind(manifests, "Service") if serves(one, workload)]
        headless = [one for one in services if one["spec"].get("clusterIP") == "None"]
        assert [port["name"] for one in headless for port in one["spec"]["ports"]] == ["grpc"]


@overlays
def test_what_pods_name_is_there(overlay: str) -> None:
    manifests = rendered(overlay)
    for workload in workloads(manifests):
        spec = pod(workload)
        if "serviceAccountName" in spec:
            named(manifests, "ServiceAccount", spec["serviceAccountName"])
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        volumes |= {claim["metadata"]["name"]: {} for claim in
                    workload["spec"].get("volumeClaimTemplates", [])}  # fmt: skip
        for volume in volumes.values():
            if "configMap" in volume:
                named(manifests, "ConfigMap", volume["configMap"]["name"])
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                named(manifests, "PersistentVolumeClaim", claim)
        for container in containers(workload):
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
            assert re.fullmatch(r"[\w./-]+/[\w.-]+:[\w.-]+", container["image"])
            assert not container["image"].endswith(":latest")
            for entry in container.get("env", []):
                secret = entry.get("valueFrom", {}).get("secretKeyRef")
                if secret:
                    held = named(manifests, "Secret", secret["name"])["stringData"]
                    assert secret["key"] in held


def settings_of(
    manifests: list[Manifest], workload: Manifest, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> settings.Settings:
    """The settings that a pod's server would have, by its own files and variables."""
    files = {volume["name"]: named(manifests, "ConfigMap", volume["configMap"]["name"])["data"]
             for volume in pod(workload)["volumes"] if "configMap" in volume}  # fmt: skip
    server = pod(workload)["containers"][0]
    for entry in server.get("env", []):
        value = entry.get("value")
        if value is None:
            secret = entry["valueFrom"]["secretKeyRef"]
            value = named(manifests, "Secret", secret["name"])["stringData"][secret["key"]]
        monkeypatch.setenv(entry["name"], value)
    for container in containers(workload):
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        for argument in container["args"]:
            if match := re.fullmatch(r"--\w+=(.+)/([\w.-]+)", argument):
                assert match[2] in files[mounts[match[1]]]
    (folder / "soft-verifier.toml").write_text(files["settings"]["soft-verifier.toml"])
    return settings.load(folder / "soft-verifier.toml")


@overlays
def test_the_servers_settings_are_read_and_fit(
    overlay: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifests = rendered(overlay)
    services = {one["metadata"]["name"]: {port["port"] for port in one["spec"]["ports"]}
                for one in of_kind(manifests, "Service")}  # fmt: skip
    for workload in ours(manifests):
        with monkeypatch.context() as environment:
            loaded = settings_of(manifests, workload, environment, tmp_path)
        spec = pod(workload)
        sleeps, seconds = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert sleeps == "sleep"
        assert int(seconds) + loaded.server.grace_s + 5 <= spec["terminationGracePeriodSeconds"]
        urls = [entry.options["url"] for entry in loaded.models if entry.family == "remote"]
        for url in [*urls, *filter(None, [loaded.cache.redis_url])]:
            parts = urlsplit(url)
            assert parts.port in services[str(parts.hostname)], url
        mounts = [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]]
        for entry in loaded.models:
            assert entry.path is None or str(entry.path.parent) in mounts
        gpu = spec["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")
        assert (loaded.server.device == "cuda") is (gpu == "1")


def test_disaggregated_asks_models_for_the_name_that_they_serve(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifests = rendered("disaggregated")
    found = {}
    for workload in ours(manifests):
        with monkeypatch.context() as environment:
            found[labels(workload)["app.kubernetes.io/component"]] = settings_of(
                manifests, workload, environment, tmp_path
            )
    (asked,), (served,) = found["front"].models, found["model"].models
    assert served.path is not None
    assert asked.options["model"] == (served.name or served.path.name)
    assert str(found["front"].cache.redis_url).startswith("redis+cluster://")


@overlays
def test_what_is_scaled_spread_and_protected_is_there(overlay: str) -> None:
    manifests = rendered(overlay)
    scaled = []
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]["name"]
        named(manifests, "Deployment", target)
        scaled.append(target)
    assert sorted(scaled) == sorted(one["metadata"]["name"] for one in ours(manifests))
    for workload in ours(manifests):
        assert "replicas" not in workload["spec"]  # each apply would set the autoscaler's back
        budgets = [one for one in of_kind(manifests, "PodDisruptionBudget")
                   if selects(one["spec"]["selector"], labels(workload))]  # fmt: skip
        assert len(budgets) == 1
        for constraint in pod(workload)["topologySpreadConstraints"]:
            assert constraint["labelSelector"]["matchLabels"] == labels(workload)
        assert workload["spec"]["selector"]["matchLabels"] == labels(workload)
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    selector, services = monitor["spec"]["selector"], of_kind(manifests, "Service")
    watched = [one for one in services if selects(selector, one["metadata"].get("labels", {}))]
    assert len(watched) == len(ours(manifests))
    for service in watched:
        names = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= names


@overlays
def test_models_are_verified_before_they_are_served(overlay: str) -> None:
    for workload in ours(rendered(overlay)):
        spec = pod(workload)
        claims = [one for one in spec["volumes"] if "persistentVolumeClaim" in one]
        verifying = spec.get("initContainers", [])
        assert bool(claims) is bool(verifying)
        for one in verifying:
            assert one["args"][:2] == ["models", "verify"]
            assert one["image"] == spec["containers"][0]["image"]
            assert one["volumeMounts"] == spec["containers"][0]["volumeMounts"]
