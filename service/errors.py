"""What can go wrong with a request, each class with its HTTP and gRPC code.

    ServiceError                 500  INTERNAL
    ├── BadRequest               422  INVALID_ARGUMENT     names the field
    │   ├── MalformedBody        400  INVALID_ARGUMENT     not JSON, not UTF-8
    │   ├── TooLarge             413  INVALID_ARGUMENT     items or bytes over the limit
    │   └── TooManyHeaders       431  INVALID_ARGUMENT     headers over the limit
    ├── Unauthenticated          401  UNAUTHENTICATED      no key, or none that is known
    ├── Forbidden                403  PERMISSION_DENIED    the key may not do this, or it is off
    ├── NotFound                 404  NOT_FOUND            profile, model; lists the nearest
    ├── Conflict                 409  FAILED_PRECONDITION  pinned digest differs, model ambiguous
    ├── Overloaded               429  RESOURCE_EXHAUSTED   with Retry-After
    │   └── OverLimit            429  RESOURCE_EXHAUSTED   a key's rate or quota is used up
    ├── NotReady                 503  UNAVAILABLE          with Retry-After
    ├── DeadlineExceeded         504  DEADLINE_EXCEEDED
    └── StartupFault             -    -                    settings, models, ports: exit code 2

Anything about one completion is not an exception but a status in a 200.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class ServiceError(Exception):
    """Root of everything that ends a request; the message says what to do."""

    http: ClassVar[int] = 500
    grpc: ClassVar[str] = "INTERNAL"
    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, field: str | None = None, retry_after: float | None = None):
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after
        """Seconds after which trying again makes sense; None for a permanent fault."""


class BadRequest(ServiceError):
    """The envelope has the wrong shape."""

    http, grpc, code = 422, "INVALID_ARGUMENT", "bad_request"


class MalformedBody(BadRequest):
    """The body is not JSON at all."""

    http, code = 400, "malformed_body"


class TooLarge(BadRequest):
    """More items or bytes than the server takes."""

    http, code = 413, "too_large"


class TooManyHeaders(BadRequest):
    """More headers than the server takes."""

    http, code = 431, "too_many_headers"


class Unauthenticated(ServiceError):
    """No key came with the request, or none that is known."""

    http, grpc, code = 401, "UNAUTHENTICATED", "unauthenticated"


class Forbidden(ServiceError):
    """The key is known and may not do this, or it is switched off here."""

    http, grpc, code = 403, "PERMISSION_DENIED", "forbidden"


class NotFound(ServiceError):
    """No such profile or model."""

    http, grpc, code = 404, "NOT_FOUND", "not_found"


class Conflict(ServiceError):
    """The caller pinned another version, or several served models fit."""

    http, grpc, code = 409, "FAILED_PRECONDITION", "conflict"


class Overloaded(ServiceError):
    """The queue is full, or the predicted wait does not fit the deadline."""

    http, grpc, code = 429, "RESOURCE_EXHAUSTED", "overloaded"


class OverLimit(Overloaded):
    """The key has asked as much as it may for now."""

    code = "over_limit"


class NotReady(ServiceError):
    """Models are still warming up, or the server is draining."""

    http, grpc, code = 503, "UNAVAILABLE", "not_ready"


class DeadlineExceeded(ServiceError):
    """Nothing could be answered within the deadline."""

    http, grpc, code = 504, "DEADLINE_EXCEEDED", "deadline_exceeded"


class StartupFault(ServiceError):
    """The server cannot start as it is configured."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'? Known: a, b, x"`` for a message about an unknown name."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"{hint} Known: {shown or 'none'}"
