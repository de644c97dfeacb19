"""Certificates of a test's own, made by openssl: an authority, servers, clients."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


class Authority:
    """Signs certificates for 127.0.0.1, or for clients."""

    def __init__(self, folder: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl on this machine: no certificates for the test")
        self.folder = folder
        self.name = name
        self.key, self.certificate = folder / f"{name}.key", folder / f"{name}.pem"
        _openssl(
            "req", "-x509", "-new", *_new_key(self.key), "-out", self.certificate, "-days", "2",
            "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip

    def sign(self, name: str, *, days: int = 2) -> tuple[Path, Path]:
        """Certificate and key for a name, good for ``days`` (below 0: ended)."""
        key, request = self.folder / f"{name}.key", self.folder / f"{name}.csr"
        certificate, extensions = self.folder / f"{name}.pem", self.folder / f"{name}.cnf"
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        _openssl("req", "-new", *_new_key(key), "-out", request, "-subj", f"/CN={name}")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
            "-CAcreateserial", "-out", certificate, "-days", str(days), "-extfile", extensions,
        )  # fmt: skip
        return certificate, key


def with_passphrase(key: Path) -> Path:
    """The same key, protected."""
    protected = key.with_suffix(".protected.key")
    _openssl("ec", "-in", key, "-aes256", "-passout", "pass:secret", "-out", protected)
    return protected


def _new_key(path: Path) -> list[str | Path]:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    return [*curve, "-keyout", path]


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
