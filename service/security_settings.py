"""Settings of who may ask, how much and how: ``[security]``, ``[limits]``, ``[connections]``.

Secrets themselves stand in none of them: files are named.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from service.section import SECTION


class Security(BaseModel):
    """Keys, certificates, and what is open without."""

    model_config = SECTION

    keys: Path | None = None
    """File of API keys that `soft-verifier keys create` writes; read again when it changes. None:
    whoever reaches the ports is served."""
    insecure: bool = False
    """Serve other machines without keys and without client certificates."""
    open_metrics: bool = False
    """Let anyone read /metrics; else a key needs the scope `metrics`."""
    certificate: Path | None = None
    """PEM file of the server's certificate, those of intermediate authorities after it: TLS on both
    ports. Read again when it changes."""
    private_key: Path | None = None
    """PEM file of its private key, without a passphrase."""
    client_ca: Path | None = None
    """PEM file of the authorities whose client certificates are asked for (mutual TLS)."""


class Limits(BaseModel):
    """What one request may ask."""

    model_config = SECTION

    max_items: int = Field(4096, ge=1)
    """Items in one request; beyond: 413."""
    max_body_bytes: int = Field(64 * 1024 * 1024, ge=1024)
    """Bytes of one request; beyond: 413."""
    max_completion_chars: int = Field(4_194_304, ge=1)
    """Characters of one completion; beyond: 413. Below it, a profile's own `max_chars` decides
    what is TOO_LONG, without cost to the other items."""
    max_queries: int = Field(65_536, ge=1)
    """Rows of one predict request; beyond: 413."""
    deadline_ms: int = Field(10_000, ge=1)
    """Deadline of a request that states none; also the most that one may state."""


class Connections(BaseModel):
    """What clients may do with connections to the HTTP port; gRPC's are bounded where it can."""

    model_config = SECTION

    max: int = Field(8192, ge=1)
    """Connections to a port of one process; beyond: 503 (gRPC: refused)."""
    max_per_address: int = Field(0, ge=0)
    """Connections of one address with all workers of a server; beyond: 503. 0 sets no bound: behind
    a proxy all have one address."""
    header_s: float = Field(15.0, gt=0)
    """Seconds from the beginning of a request (or connection) to the end of its headers."""
    body_s: float = Field(60.0, gt=0)
    """Seconds from there to the end of its body, and for a client that does not read its answer."""
    grpc_age_s: float = Field(0.0, ge=0)
    """Seconds after which a gRPC connection is asked to end, so that its client looks the name up
    again and finds servers that are new; what is in flight goes on, the next call takes another
    connection. 0: it may last for ever."""
    grpc_age_grace_s: float = Field(0.0, ge=0)
    """Seconds that calls in flight, streams among them, then get; beyond: UNAVAILABLE. 0: as long
    as they take."""
    max_header_kb: int = Field(64, ge=4)
    """Kilobytes of request line and headers that are waited for to end; beyond: 431."""
