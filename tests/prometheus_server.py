"""A real Prometheus as a child, scraping a server of ours; Debian's package has the program."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import yaml

from servers import free_port, wait_until

MISSING = "prometheus is not installed (Debian: apt-get install prometheus)"


def program() -> str | None:
    return shutil.which("prometheus")


class PrometheusProcess:
    """Scrapes every second and evaluates the given rules every second."""

    def __init__(self, folder: Path, target: str, rules: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._client = httpx.Client(base_url=self.url, timeout=30.0)
        every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        job = {"job_name": "soft-verifier", "static_configs": [{"targets": [target]}]}
        config = {"global": every, "rule_files": [str(rules)], "scrape_configs": [job]}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> PrometheusProcess:
        found = program()
        assert found is not None, MISSING
        with (self._folder / "prometheus.log").open("w") as log:
            self.process = subprocess.Popen(
                [
                    found,
                    f"--config.file={self._folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, "GOMAXPROCS": "1"},
            )
        wait_until(self._ready, 60, f"Prometheus did not start: {self._folder}/prometheus.log")
        return self

    def _ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self._client.get("/-/ready").status_code == 200
        return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query; those that are no number (0/0) left out."""
        answer = self._client.get("/api/v1/query", params={"query": expression})
        body = answer.json()
        assert body["status"] == "success", f"{expression}: {body}"
        return [one for one in body["data"]["result"] if one["value"][1] != "NaN"]

    def rules(self) -> list[dict[str, Any]]:
        groups = self._client.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def stop(self) -> None:
        self._client.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
