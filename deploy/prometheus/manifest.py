"""Writes the rules beside it as the Prometheus operator's PrometheusRule, for the overlays.

    python3 deploy/prometheus/manifest.py

There is one source, ``rules.yaml``; a test holds that what lies in ``deploy/kubernetes`` was made
of it.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

RULES = Path(__file__).with_name("rules.yaml")
MANIFEST = RULES.parents[1] / "kubernetes" / "components" / "monitoring" / "prometheusrule.yaml"
HEAD = """\
# Made of deploy/prometheus/rules.yaml; change that, then: python3 deploy/prometheus/manifest.py
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: soft-verifier
spec:
"""


def manifest(rules: str) -> str:
    """The PrometheusRule of a file of rules, its comments included, as far as they stand in it."""
    return HEAD + textwrap.indent(rules[rules.index("groups:\n") :], "  ")


if __name__ == "__main__":
    MANIFEST.write_text(manifest(RULES.read_text(encoding="utf-8")), encoding="utf-8")
    print(MANIFEST)
