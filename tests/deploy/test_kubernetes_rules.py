"""The alerts in the overlays are those of the stack, and are about what the operator scrapes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from overlays import KUBERNETES, OVERLAYS, REPOSITORY, of_kind, rendered
from reachability import selects

RULES = REPOSITORY / "deploy" / "prometheus" / "rules.yaml"
MANIFEST = KUBERNETES / "components" / "monitoring" / "prometheusrule.yaml"


def test_the_manifest_was_made_of_the_rules(tmp_path: Path) -> None:
    script = tmp_path / "deploy" / "prometheus" / "manifest.py"
    made = tmp_path / MANIFEST.relative_to(REPOSITORY)
    for folder in (script.parent, made.parent):
        folder.mkdir(parents=True)
    script.write_bytes((RULES.parent / "manifest.py").read_bytes())
    script.with_name("rules.yaml").write_bytes(RULES.read_bytes())
    subprocess.run([sys.executable, str(script)], check=True, capture_output=True)
    assert made.read_text() == MANIFEST.read_text(), "python3 deploy/prometheus/manifest.py"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_has_the_rules_of_the_stack(overlay: str) -> None:
    (rule,) = of_kind(rendered(overlay), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(RULES.read_text())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_jobs_that_rules_name_are_those_that_are_scraped(overlay: str) -> None:
    """The operator calls a job by its Service."""
    manifests = rendered(overlay)
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    services = of_kind(manifests, "Service")
    jobs = {
        one["metadata"]["name"]
        for one in services
        if selects(monitor["spec"]["selector"], one["metadata"].get("labels", {}))
    }
    asked = re.findall(r'job=~?"([^"]+)"', RULES.read_text())
    assert jobs
    assert asked
    for job in jobs:
        assert all(re.fullmatch(pattern, job) for pattern in asked), job
