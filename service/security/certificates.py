"""The server's certificate, for both ports, read again when its files change.

A certificate is taken into use only after a handshake with itself in memory: what is missing, does
not fit together or has ended is refused with its reason, at the start by not starting, later by
going on with the one that is served. Connections that are open stay as they are; each new one gets
the newest. TLS 1.2 at least. Limits: private keys without a passphrase; no list of revoked
certificates (issue short ones, or change the authority file); a TLS 1.2 client may resume its own
session for some minutes after its authority was removed.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.errors import StartupFault
from service.settings import Security

if TYPE_CHECKING:
    import grpc


@dataclass(frozen=True, slots=True)
class Loaded:
    """One state of the files."""

    context: ssl.SSLContext
    expires: float
    """Seconds since 1970 at which the certificate ends."""
    certificate: bytes
    private_key: bytes
    client_ca: bytes | None


class Certificates:
    """What both ports are served with.

    Raises:
        StartupFault: the files do not do; says which and why.
    """

    def __init__(self, settings: Security):
        assert settings.certificate is not None
        assert settings.private_key is not None
        self._chain, self._key = settings.certificate, settings.private_key
        self._authorities = settings.client_ca
        self._current = self._load()
        self._told: Loaded | None = None

    @property
    def expires(self) -> float:
        """Seconds since 1970 at which the certificate that is served ends."""
        return self._current.expires

    def reload(self) -> None:
        """Take the files as they are now.

        Raises:
            StartupFault: they do not do; what was served is served on.
        """
        self._current = self._load()

    def context(self) -> ssl.SSLContext:
        """For the HTTP port: each handshake is done with the newest files."""
        context = self._made()
        context.sni_callback = self._renew
        return context

    def _renew(self, connection: Any, _: str | None, __: ssl.SSLContext) -> None:
        """Called at the beginning of each handshake, whether the client names a server or not."""
        connection.context = self._current.context

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For the gRPC port, likewise."""
        import grpc

        def newest() -> grpc.ServerCertificateConfiguration | None:
            current = self._current
            if current is self._told:
                return None
            self._told = current
            return grpc.ssl_server_certificate_configuration(
                [(current.private_key, current.certificate)], current.client_ca
            )

        first = newest()
        assert first is not None
        asked = self._authorities is not None
        # None says that nothing has changed, which the types do not know.
        made: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            first,
            newest,  # type: ignore[arg-type]
            asked,
        )
        return made

    def _load(self) -> Loaded:
        chain, key = _bytes("certificate", self._chain), _bytes("private_key", self._key)
        named = self._authorities
        authorities = None if named is None else _bytes("client_ca", named)
        context = self._made()
        return Loaded(context, _rehearse(self._chain, self._key), chain, key, authorities)

    def _made(self) -> ssl.SSLContext:
        context = _plain(self._chain, self._key)
        if self._authorities is not None:
            try:
                context.load_verify_locations(self._authorities)
            except (ssl.SSLError, OSError) as error:
                raise StartupFault(
                    f"security.client_ca: {self._authorities} is no PEM file of certificates: "
                    f"{_reason(error)}"
                ) from None
            # Health is asked by who has no certificate; the gate refuses him everything else.
            context.verify_mode = ssl.CERT_OPTIONAL
            context.num_tickets = 0  # a session resumed would not be verified anew
            context.options |= ssl.OP_NO_TICKET
        return context


def _bytes(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupFault(
            f"security.{setting}: {path} cannot be read: {error.strerror or error}"
        ) from None


def _plain(chain: Path, key: Path) -> ssl.SSLContext:
    """A server's context that asks for no client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(chain, key, password=_no_passphrase(key))
    except (ssl.SSLError, OSError) as error:
        raise StartupFault(_fault(chain, key, error)) from None
    return context


def _no_passphrase(key: Path) -> Any:
    def refuse() -> str:
        raise StartupFault(
            f"security.private_key: {key} is protected by a passphrase, which nobody would enter; "
            "give a file without one, readable by the server alone"
        )

    return refuse


def _fault(chain: Path, key: Path, error: OSError) -> str:
    """Which of the two files is at fault, and how."""
    reason = _reason(error)
    if "KEY_VALUES_MISMATCH" in reason:
        return (
            f"security.private_key: {key} is not the key of the first certificate in {chain} "
            "(the server's own must stand first)"
        )
    if b"-----BEGIN CERTIFICATE-----" not in chain.read_bytes():
        return f"security.certificate: {chain} holds no PEM certificate"
    if b"PRIVATE KEY-----" not in key.read_bytes():
        return f"security.private_key: {key} holds no PEM private key"
    return f"security.certificate {chain} and security.private_key {key} do not load: {reason}"


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)


def _rehearse(chain: Path, key: Path) -> float:
    """Shake hands with ourselves; when the certificate ends.

    Raises:
        StartupFault: it has ended, or has not begun.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(chain)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate vouches for itself
    ways = ssl.MemoryBIO(), ssl.MemoryBIO()
    server_end = _plain(chain, key).wrap_bio(ways[0], ways[1], server_side=True)
    client_end = client.wrap_bio(ways[1], ways[0])
    try:
        for _ in range(4):
            for end in (client_end, server_end):
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLCertVerificationError as error:
        raise StartupFault(
            f"security.certificate: {chain}: {error.verify_message}; renew it"
        ) from None
    except ssl.SSLError as error:
        raise StartupFault(f"security.certificate: {chain} does not serve: {error}") from None
    found = client_end.getpeercert()
    assert found is not None
    return ssl.cert_time_to_seconds(str(found["notAfter"]))
