"""How a remote world model is let in: certificates and the key, from files that may be renewed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from worldmodels.core import ModelFault

if TYPE_CHECKING:
    import grpc

OPTIONS: Final[Mapping[str, str]] = {
    "ca_file": "PEM file of the authority to trust, for grpcs",
    "cert_file": "PEM file of our own certificate, where that server asks for one",
    "key_file": "PEM file of its private key",
    "token_file": "file that holds the API key for that server; read for every request",
}


def credentials(name: str, options: Mapping[str, str]) -> grpc.ChannelCredentials:
    """What we trust and what we show, for a channel.

    Raises:
        ModelFault: a file cannot be read, or a certificate lacks its key.
    """
    import grpc

    if ("cert_file" in options) != ("key_file" in options):
        raise ModelFault(f"model {name!r}: cert_file and key_file belong together")
    files = ("ca_file", "key_file", "cert_file")
    return grpc.ssl_channel_credentials(*(_bytes(name, option, options) for option in files))


def metadata(name: str, options: Mapping[str, str]) -> list[tuple[str, str]]:
    """The key as gRPC carries it; empty where none is needed.

    Raises:
        ModelFault: the file cannot be read, or holds no key.
    """
    found = _bytes(name, "token_file", options)
    if found is None:
        return []
    token = found.decode("latin-1").strip()
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise ModelFault(f"model {name!r}: token_file {options['token_file']} holds no API key")
    return [("authorization", f"Bearer {token}")]


def _bytes(name: str, option: str, options: Mapping[str, str]) -> bytes | None:
    if option not in options:
        return None
    try:
        return Path(options[option]).read_bytes()
    except OSError as error:
        raise ModelFault(f"model {name!r}: {option} cannot be read: {error}") from error
