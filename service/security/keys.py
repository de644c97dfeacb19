"""API keys: made once, kept as digests, compared in constant time.

A key is ``sv1_ID_SECRET``: a public id, by which it is found and may be named, and 256 random bits.
At rest there is the SHA-256 of a salt and the whole key. A slow hash (scrypt, Argon2) protects
secrets that people choose, by making each guess dear; nobody guesses 256 random bits, and what
would cost 50 ms for each one-item request protects nothing more. The salt makes digests of two
files incomparable. Limits: whoever reads the process's memory or an unencrypted connection reads
keys.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from service.errors import ServiceError, Unauthenticated, nearest

SCOPES: Final = ("score", "predict", "metrics", "admin")
PREFIX: Final = b"sv1_"
"""Begins every key, so that scanners for leaked secrets find one."""
_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key."""

    id: str
    """12 hexadecimal digits, part of the key; no secret."""
    name: str
    scopes: frozenset[str]
    salt: bytes
    digest: bytes
    """SHA-256 of salt and key."""
    created: datetime.datetime
    expires: datetime.datetime | None = None
    quota: int | None = None
    """Items a day (UTC); None: no bound."""
    rate: float | None = None
    """Items a second on the long run; None: no bound."""

    @property
    def limited(self) -> bool:
        """Whether what it asks is counted against anything."""
        return self.quota is not None or self.rate is not None

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires.timestamp() <= time.time()


def mint(
    name: str,
    scopes: Iterable[str],
    *,
    quota: int | None = None,
    rate: float | None = None,
    expires: datetime.datetime | None = None,
) -> tuple[str, Key]:
    """A new key, as its owner needs it, and what is kept of it."""
    number, salt = secrets.token_hex(_ID_BYTES), secrets.token_bytes(16)
    spelt = f"{PREFIX.decode()}{number}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    digest = _digest(salt, spelt.encode())
    return spelt, Key(number, name, frozenset(scopes), salt, digest, now, expires, quota, rate)


def _digest(salt: bytes, spelt: bytes) -> bytes:
    return hashlib.sha256(salt + spelt).digest()


_NOBODY: Final = Key(
    "", "", frozenset(), bytes(16), bytes(32), datetime.datetime.fromtimestamp(0, datetime.UTC)
)
"""Compared with where the id is not known, so that it takes as long as where it is."""


class Keyring:
    """The keys that are known."""

    def __init__(self, keys: Iterable[Key]):
        self._by_id = {key.id.encode(): key for key in keys}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._by_id.values())

    def verified(self, spelt: bytes) -> Key:
        """The key that was presented.

        Raises:
            Unauthenticated: it is none, is not known, or its time is over.
        """
        if spelt[:4] != PREFIX or len(spelt) > 128:
            raise Unauthenticated(
                "what was sent is no API key of this server (they begin with sv1_); ask its "
                "operator for one (soft-verifier keys create)"
            )
        key = self._by_id.get(spelt[4 : 4 + 2 * _ID_BYTES], _NOBODY)
        if not hmac.compare_digest(_digest(key.salt, spelt), key.digest) or key is _NOBODY:
            raise Unauthenticated("the API key is not known here; it may have been revoked")
        if key.expired:
            raise Unauthenticated(f"API key {key.name!r} has expired; ask for a new one")
        return key


def scopes_of(text: str) -> list[str]:
    """``"score,predict"`` as scopes, in their order.

    Raises:
        ServiceError: one is not known; names the nearest.
    """
    asked = [word.strip() for word in text.split(",") if word.strip()]
    for scope in asked:
        if scope not in SCOPES:
            raise ServiceError(f"unknown scope {scope!r}{nearest(scope, SCOPES)}", field="scope")
    if not asked:
        raise ServiceError(f"no scope; there are {', '.join(SCOPES)}", field="scope")
    return [scope for scope in SCOPES if scope in asked]
