"""Everything a client is told when it is made, checked once.

Limits: one server per client; spread load over several with a Service or a proxy in front.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, SupportsIndex
from urllib.parse import unquote, urlsplit, urlunsplit

from softverifier.errors import UsageError

SCHEMES: Final = ("http", "https", "grpc", "grpcs")
MOST_STEP: Final = 2**63
CONTEXT_FIELDS: Final = ("run", "step", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What ``RewardClient`` documents, frozen."""

    url: str
    profile: str | None = None
    timeout: float = 30.0
    deadline: float | None = None
    retries: int = 8
    item_retries: int = 2
    max_items_per_request: int = 256
    max_bytes_per_request: int = 3 << 20
    concurrency: int = 4
    headers: Mapping[str, str] = field(default_factory=dict)
    api_key: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    run: str | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            UsageError: naming the argument and what was expected.
        """
        _check_url(self.url)
        self._take_key_out()
        if (self.cert_file is None) != (self.key_file is None):
            raise UsageError("cert_file and key_file belong together: certificate and its key")
        if not self.verify and self.url.startswith("grpcs"):
            raise UsageError("verify=False is for https only; name the authority with ca_file")
        _positive("timeout", self.timeout)
        if self.deadline is not None:
            _positive("deadline", self.deadline)
        for name in ("max_items_per_request", "max_bytes_per_request", "concurrency"):
            _whole(name, getattr(self, name), 1)
        for name in ("retries", "item_retries"):
            _whole(name, getattr(self, name), 0)

    def _take_key_out(self) -> None:
        """``scheme://KEY@host`` as ``api_key``, so that the URL may be shown."""
        bare, key = split_key(self.url)
        object.__setattr__(self, "url", bare)
        if self.api_key is None:
            object.__setattr__(self, "api_key", key)

    @property
    def remote_procedure(self) -> bool:
        """True: gRPC; False: HTTP."""
        return self.url.startswith("grpc")

    @property
    def sent_headers(self) -> dict[str, str]:
        """The caller's headers, and the key as a bearer token."""
        found = dict(self.headers)
        if self.api_key is not None:
            found["authorization"] = f"Bearer {self.api_key}"
        return found

    def context(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """Run, step and split of one call: the client's own, overridden by the call's.

        Raises:
            UsageError: an unknown field or a step that is no whole number.
        """
        merged: dict[str, Any] = {"run": self.run, "split": self.split, **(given or {})}
        found = {key: value for key, value in merged.items() if value is not None}
        for key, value in found.items():
            if key not in CONTEXT_FIELDS:
                raise UsageError(f"context has no field {key!r}; it has run, step, split")
            if key == "step":
                found[key] = _step(value)
            elif not isinstance(value, str):
                raise UsageError(f"context {key} is {type(value).__name__}, expected a string")
        return found


def _step(value: object) -> int:
    """A step as the plain number that it is: trainers count in numpy's, too."""
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        value = value.__index__()
    _whole("context step", value, 0)
    assert isinstance(value, int)
    if value >= MOST_STEP:
        raise UsageError(f"context step is {value!r}, a number of more than 64 bits")
    return value


def split_key(url: str) -> tuple[str, str | None]:
    """``scheme://KEY@host`` as the URL without the key, and the key; None: there is none."""
    parts = urlsplit(url)
    if parts.username is None:
        return url, None
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urlunsplit(bare), unquote(parts.password or parts.username)


def redacted(url: str) -> str:
    """The URL without the key that may stand in it, for messages."""
    return re.sub(r"//.*@", "//***@", url)


def _check_url(url: str) -> None:
    if not isinstance(url, str):
        raise UsageError(f"url is {type(url).__name__}, expected a string")
    parts = urlsplit(url)
    url = redacted(url)
    try:
        port = parts.port
    except ValueError as error:
        raise UsageError(f"url {url!r}: {error}; expected scheme://host:port") from None
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise UsageError(f"url {url!r}: expected http(s)://host:port or grpc(s)://host:port")
    if parts.scheme.startswith("grpc"):
        if port is None:
            raise UsageError(f"url {url!r}: gRPC needs a port, e.g. grpc://{parts.hostname}:50051")
        if parts.path.strip("/"):
            raise UsageError(f"url {url!r}: a gRPC address has no path")


def _positive(name: str, value: object) -> None:
    ok = isinstance(value, int | float) and not isinstance(value, bool)
    if not ok or not math.isfinite(value) or value <= 0:  # type: ignore[arg-type,operator]
        raise UsageError(f"{name} is {value!r}, expected seconds above 0")


def _whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} is {value!r}, expected a whole number of at least {least}")
