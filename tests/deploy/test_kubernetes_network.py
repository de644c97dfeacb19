"""The overlays' NetworkPolicies: who reaches whom."""

from __future__ import annotations

import pytest

from overlays import Manifest, labels, of_kind, ports, rendered, workloads
from reachability import Pod, reaches


def pods_of(manifests: list[Manifest]) -> dict[str, Pod]:
    """Our pods by workload, and others of a cluster."""
    found = {one["metadata"]["name"]: Pod(labels(one), ports=ports(one))
             for one in workloads(manifests)}  # fmt: skip
    return found | {
        "client": Pod({"soft-verifier/client": "true"}, "training"),
        "stranger": Pod({"app": "other"}, "training"),
        "neighbour": Pod({"app": "other"}),
        "prometheus": Pod({"app": "prometheus"}, "monitoring"),
        "dns": Pod({"k8s-app": "kube-dns"}, "kube-system"),
    }


WAYS = [
    ("cpu", "client", "soft-verifier", 8080, True),
    ("cpu", "client", "soft-verifier", 50051, True),
    ("cpu", "prometheus", "soft-verifier", 8080, True),
    ("cpu", "prometheus", "soft-verifier", 50051, False),
    ("cpu", "stranger", "soft-verifier", 8080, False),
    ("cpu", "neighbour", "soft-verifier", 8080, False),
    ("cpu", "soft-verifier", "redis", 6379, True),
    ("cpu", "soft-verifier", "dns", 53, True),
    ("cpu", "soft-verifier", "stranger", 443, False),
    ("cpu", "client", "redis", 6379, False),
    ("gpu", "soft-verifier", "redis", 6379, True),
    ("gpu", "redis", "soft-verifier", 8080, False),
    ("disaggregated", "client", "soft-verifier-front", 8080, True),
    ("disaggregated", "soft-verifier-front", "soft-verifier-model", 50051, True),
    ("disaggregated", "soft-verifier-model", "soft-verifier-front", 50051, False),
    ("disaggregated", "soft-verifier-front", "redis-cluster", 6379, True),
    ("disaggregated", "redis-cluster", "redis-cluster", 16379, True),
    ("disaggregated", "redis-cluster-join", "redis-cluster", 6379, True),
    ("disaggregated", "redis-cluster-join", "dns", 53, True),
    ("disaggregated", "client", "redis-cluster", 6379, False),
]


@pytest.mark.parametrize(("overlay", "source", "target", "port", "open_"), WAYS,
                         ids=[f"{o}: {s} to {t}:{p}" for o, s, t, p, _ in WAYS])  # fmt: skip
def test_the_network_allows_what_is_needed_and_no_more(
    overlay: str, source: str, target: str, port: int, open_: bool
) -> None:
    manifests = rendered(overlay)
    pods = pods_of(manifests)
    policies = of_kind(manifests, "NetworkPolicy")
    assert reaches(policies, pods[source], pods[target], port) is open_
