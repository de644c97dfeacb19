"""gRPC codes as faults: which HTTP status each stands for, and which are worth another try."""

from __future__ import annotations

from typing import Final

import grpc

from softverifier.patience import Fault

STATUS_OF_CODE: Final[dict[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 409,
    "ABORTED": 503,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 503,
    "UNKNOWN": 500,
    "INTERNAL": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 404,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
RETRY_AFTER: Final = "retry-after"
"""Trailing metadata by which the server says how many seconds to wait."""


def fault_of_code(code: int, message: str, retry_after: float | None = None) -> Fault:
    """A fault from a numeric code and the server's message."""
    name = _NAMES.get(code, "UNKNOWN")
    status = STATUS_OF_CODE.get(name, 500)
    if name == "RESOURCE_EXHAUSTED" and "larger than max" in message:
        # Too large stays too large.
        advice = "; lower max_items_per_request or max_bytes_per_request"
        return Fault(f"{name}: {message}{advice}", retryable=False, status=413, code=name)
    advice = "; pass a valid api_key=" if status in (401, 403) else ""
    return Fault(
        f"{name}: {message}{advice}",
        retryable=status == 429 or status >= 500,
        status=status,
        code=name,
        retry_after=retry_after,
    )


def fault_of_error(error: grpc.RpcError) -> Fault:
    """A fault from an exception of grpc."""
    if not isinstance(error, grpc.Call):
        return Fault(f"gRPC: {error}", retryable=True, code="UNKNOWN")
    code: grpc.StatusCode = error.code()
    return fault_of_code(code.value[0], error.details() or "no details", _retry_after(error))


def _retry_after(error: grpc.Call) -> float | None:
    for key, value in error.trailing_metadata() or ():
        if key == RETRY_AFTER:
            try:
                return max(0.0, float(value))
            except ValueError:
                return None
    return None
