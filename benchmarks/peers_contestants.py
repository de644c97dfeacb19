"""Who is measured beside this server, and how each wants to be asked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import toy

HERE = Path(__file__).resolve().parent / "peers"


def _columns(subjects: list[str], objects: list[str]) -> Any:
    return {"subjects": subjects, "objects": objects}


def _ours(subjects: list[str], objects: list[str]) -> Any:
    asked = {"model": "toy", "relation": "perturbation.de", "context": toy.CELL_LINE}
    return {**asked, "subjects": subjects, "objects": objects}


def _v2(subjects: list[str], objects: list[str]) -> Any:
    shape = [len(subjects), 1]
    columns = {"subjects": subjects, "objects": objects}
    inputs = [
        {"name": name, "shape": shape, "datatype": "BYTES", "data": data}
        for name, data in columns.items()
    ]
    return {"inputs": inputs}


def _rows(key: str) -> Callable[[list[str], list[str]], Any]:
    return lambda subjects, objects: {key: list(zip(subjects, objects, strict=True))}


@dataclasses.dataclass(frozen=True)
class Peer:
    """One server.

    Args:
        name: in the tables.
        note: what distinguishes it, for the tables.
        path: that the pairs are posted to, or the gRPC method.
        body: subjects and objects → JSON document.
        answer: JSON document → probabilities.
        grpc: asked over gRPC with this server's own messages.
        program: file in ``benchmarks/peers``; empty: this server.
        interpreter: that its environment is built with, where there is one.
        options: of this server's command line.
    """

    name: str
    note: str
    path: str = "/predict"
    body: Callable[[list[str], list[str]], Any] = _columns
    answer: Callable[[Any], list[float]] = lambda found: list(found["p"])
    grpc: bool = False
    program: str = ""
    interpreter: str = ""
    options: tuple[str, ...] = ()

    @property
    def requirements(self) -> Path | None:
        """Its requirements, if it needs an environment of its own."""
        file = HERE / f"{self.name}.txt"
        return file if self.program and file.is_file() else None

    @property
    def own(self) -> bool:
        """This server itself."""
        return not self.program

    def payload(self, subjects: list[str], objects: list[str]) -> bytes:
        """The body of one request."""
        if self.grpc:
            return toy.predict_rows(subjects, objects)
        return json.dumps(self.body(subjects, objects)).encode()


_GRPC = "/softverifier.v1.WorldModels/Predict"
OURS = Peer("ours", "this server, /v1/predict", "/v1/predict", _ours)
OURS_GRPC = Peer("ours-grpc", "this server, WorldModels.Predict", _GRPC, grpc=True)
TWO = Peer("ours-2", "this server, --workers 2", "/v1/predict", _ours, options=("--workers", "2"))
PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("fastapi", "no batching", program="with_fastapi.py"),
        Peer("litserve", "fast_queue", program="with_litserve.py"),
        Peer("mosec", "Rust front", "/inference", program="with_mosec.py"),
        Peer(
            "bentoml",
            "its own wait, ≤ 1 s",
            body=_rows("pairs"),
            answer=list,
            program="with_bentoml.py",
        ),
        Peer(
            "mlserver",
            "V2, in process",
            "/v2/models/pairs/infer",
            _v2,
            lambda found: list(found["outputs"][0]["data"]),
            program="with_mlserver.py",
        ),
        Peer("ray", "Ray Serve, 1,024 ongoing", program="with_ray.py"),
        Peer(
            "pytriton",
            "V2",
            "/v2/models/pairs/infer",
            _v2,
            lambda found: list(found["outputs"][0]["data"]),
            program="with_pytriton.py",
            # Triton's stub carries a Python of its own, for which some builds' standard library is
            # too new: Debian's fits.
            interpreter="/usr/bin/python3.11",
        ),
        Peer(
            "kserve",
            "V1, no batching",
            "/v1/models/pairs:predict",
            _rows("instances"),
            lambda found: list(found["predictions"]),
            program="with_kserve.py",
        ),
        Peer("grpc", "grpc.aio, no batching", _GRPC, grpc=True, program="with_grpc.py"),
    )
}
