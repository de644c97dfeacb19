"""Who reaches whom, by NetworkPolicies alone: what a cluster's network would allow.

Covers selectors of pods and namespaces, and ports by number or name; not addresses (ipBlock), port
ranges or other protocols than TCP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

OURS: Final = "soft-verifier"


@dataclass(frozen=True)
class Pod:
    """A pod as policies see it."""

    labels: dict[str, str]
    namespace: str = OURS
    ports: dict[str, int] = field(default_factory=dict)


def reaches(policies: list[dict[str, Any]], source: Pod, target: Pod, port: int) -> bool:
    """Whether a connection is allowed to leave the one and to enter the other."""
    leaves = _allowed(policies, source, target, port, target.ports, "Egress")
    return leaves and _allowed(policies, target, source, port, target.ports, "Ingress")


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector selects; an operator that is not known here is an error."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions", []):
        there = labels.get(one["key"])
        matched = {
            "In": lambda there=there, one=one: there in one["values"],
            "Exists": lambda there=there: there is not None,
            "DoesNotExist": lambda there=there: there is None,
        }[one["operator"]]()
        if not matched:
            return False
    return True


def _allowed(
    policies: list[dict[str, Any]],
    subject: Pod,
    peer: Pod,
    port: int,
    names: dict[str, int],
    direction: str,
) -> bool:
    """Of the policies that select the subject, one must allow; none that selects it allows all."""
    rules, selected = [], False
    for policy in policies:
        spec = policy["spec"]
        if subject.namespace != OURS or not selects(spec["podSelector"], subject.labels):
            continue
        if direction in spec["policyTypes"]:
            selected = True
            rules += spec.get(direction.lower(), [])
    return not selected or any(_fits(rule, peer, port, names, direction) for rule in rules)


def _fits(
    rule: dict[str, Any], peer: Pod, port: int, names: dict[str, int], direction: str
) -> bool:
    stated = [one["port"] for one in rule.get("ports", []) if one.get("protocol", "TCP") == "TCP"]
    open_ports = [names.get(one) if isinstance(one, str) else one for one in stated]
    peers = rule.get("to" if direction == "Egress" else "from")
    to_peer = peers is None or any(_is(one, peer) for one in peers)
    return to_peer and (not rule.get("ports") or port in open_ports)


def _is(selector: dict[str, Any], peer: Pod) -> bool:
    if (namespaces := selector.get("namespaceSelector")) is None:
        if peer.namespace != OURS:
            return False
    elif not selects(namespaces, {"kubernetes.io/metadata.name": peer.namespace}):
        return False
    return selects(selector.get("podSelector", {}), peer.labels)
