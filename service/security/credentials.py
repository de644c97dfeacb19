"""Where a key stands in a request.

    Authorization: Bearer KEY       what clients and gRPC's metadata carry
    Authorization: Basic …          KEY as the user or the password: http://KEY@host:8080/…
    ?key=KEY                        for what is configured by a URL alone and drops the user in it

The last is taken out of the query before anything else reads it. Limits: proxies between may log
URLs; this server logs routes without their query.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import unquote_to_bytes

from service.errors import Unauthenticated
from service.security.keys import PREFIX

_BEARER: Final = b"Bearer "
_PARAMETER: Final = b"key="


def presented(authorization: bytes) -> bytes:
    """The key that a header carries.

    Raises:
        Unauthenticated: the header is of another kind, or damaged.
    """
    if authorization.startswith(_BEARER):
        return authorization[7:].strip()
    kind, _, rest = authorization.partition(b" ")
    kind = kind.lower()
    if kind == b"bearer":
        return rest.strip()
    if kind != b"basic":
        raise Unauthenticated("authorization: expected Bearer KEY, or Basic with the key as user")
    try:
        user, _, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        raise Unauthenticated("authorization: Basic, but what follows is not base64") from None
    return user if user.startswith(PREFIX) else password


def taken_out(query: bytes) -> tuple[bytes, bytes | None]:
    """A query string without its ``key``, and the key; None: it has none.

    Raises:
        Unauthenticated: several.
    """
    if _PARAMETER not in query:
        return query, None
    parts = query.split(b"&")
    keys = [part[4:] for part in parts if part.startswith(_PARAMETER)]
    if not keys:
        return query, None
    if len(keys) > 1:
        raise Unauthenticated("the URL holds several keys")
    left = b"&".join(part for part in parts if not part.startswith(_PARAMETER))
    return left, unquote_to_bytes(keys[0])
