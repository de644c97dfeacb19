"""What world models said, as a predict response on either wire: columns straight from the arrays.

Figures are most of a response. In JSON orjson writes them from the arrays with the same digits as
msgspec does from lists, in half the time; in protobuf a packed column is the array's own bytes
(benchmarks/notes.md). Limits: what a client may read in it is ``wire.PredictResponse``, whose order
of fields this keeps, and worldmodels.proto's, whose bytes these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from softverifier._pb import worldmodels_pb2 as wm
from worldmodels.core import ModelSpec, Status, Verdicts

_ENCODER: Final = msgspec.json.Encoder()
_STATUS_NAMES: Final = [Status(code).name for code in sorted(Status)]


class _Written(msgspec.Struct, frozen=True):
    """``wire.PredictResponse`` with its figures written already."""

    p: msgspec.Raw
    p0: msgspec.Raw | None
    uncertainty: msgspec.Raw | None
    raw: msgspec.Raw | None
    status: list[str]
    model: str
    version: str
    digest: str


def write_predict(spec: ModelSpec, verdicts: Verdicts) -> bytes:
    """The body of a predict response."""
    return write_predicts(spec, verdicts, [len(verdicts)])[0]


def write_predicts(spec: ModelSpec, verdicts: Verdicts, sizes: Sequence[int]) -> list[bytes]:
    """The bodies of predict responses to requests of so many rows each, answered as one."""
    p, p0, uncertainty, raw = (
        None if values is None else _plain(values)
        for values in (verdicts.p, verdicts.p0, verdicts.uncertainty, verdicts.raw)
    )
    status = verdicts.status
    names = (
        [_STATUS_NAMES[code] for code in status.tolist()] if status.any() else ["OK"] * len(status)
    )
    name, version, digest = spec.name, spec.version, spec.digest
    bodies, start = [], 0
    for size in sizes:
        rows = slice(start, start + size)
        start += size
        bodies.append(
            _ENCODER.encode(
                _Written(
                    _figures(p, rows),
                    None if p0 is None else _figures(p0, rows),
                    None if uncertainty is None else _figures(uncertainty, rows),
                    None if raw is None else _figures(raw, rows),
                    names[rows],
                    name,
                    version,
                    digest,
                )
            )
        )
    return bodies


def pack_predict(spec: ModelSpec, verdicts: Verdicts) -> bytes:
    """The same as a ``PredictResponse`` in protobuf's encoding.

    Columns are joined by hand: messages written one behind the other are one message.
    """
    columns = (
        (_P, verdicts.p, "<f8"),
        (_STATUS, verdicts.status, "u1"),
        (_P0, verdicts.p0, "<f8"),
        (_UNCERTAINTY, verdicts.uncertainty, "<f8"),
        (_RAW, verdicts.raw, "<f8"),
    )
    parts: list[bytes] = []
    for tag, values, kind in columns:
        if values is not None and len(values):
            data = values.astype(kind, copy=False).tobytes()
            parts += (tag, _length(len(data)), data)
    rest = wm.PredictResponse(
        model=spec.name, version=spec.version, digest=spec.digest, genes=spec.genes
    )
    return b"".join(parts) + rest.SerializeToString()


def _tag(field: str) -> bytes:
    """What stands before a field of bytes or of packed figures: its number, "of some length"."""
    number = wm.PredictResponse.DESCRIPTOR.fields_by_name[field].number
    return bytes((number << 3 | 2,))


def _length(n: int) -> bytes:
    """A number in groups of seven bits, the lowest first."""
    groups = []
    while n > 0x7F:
        groups.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes((*groups, n))


_P, _STATUS, _P0, _UNCERTAINTY, _RAW = map(_tag, ("p", "status", "p0", "uncertainty", "raw"))


def _plain(values: NDArray[Any]) -> NDArray[Any] | list[Any]:
    """What orjson writes as msgspec would: double precision in one piece, or the values as a list.

    A plugin may answer in single precision, whose shortest digits are others.
    """
    one_piece = values.dtype == np.float64 and values.flags.c_contiguous
    return values if one_piece else values.tolist()


def _figures(values: Any, rows: slice) -> msgspec.Raw:
    """A piece of a column; NaN is written as null."""
    return msgspec.Raw(orjson.dumps(values[rows], option=orjson.OPT_SERIALIZE_NUMPY))
