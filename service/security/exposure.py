"""Whether a server may be reached from other machines as it is configured."""

from __future__ import annotations

import ipaddress

from service.errors import StartupFault
from service.settings import Settings


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def check(settings: Settings) -> list[str]:
    """What the operator should know of the way in; nothing where all is well.

    Raises:
        StartupFault: other machines would be served without being asked who they are.
    """
    security, host = settings.security, settings.server.host
    if (security.certificate is None) != (security.private_key is None):
        missing = "private_key" if security.private_key is None else "certificate"
        raise StartupFault(f"security.{missing} is not set: TLS needs certificate and private_key")
    if security.client_ca is not None and security.certificate is None:
        raise StartupFault(
            "security.client_ca asks for client certificates, which needs TLS: set "
            "security.certificate and security.private_key as well"
        )
    if is_loopback(host):
        return []
    if security.keys is None and security.client_ca is None:
        if not security.insecure:
            raise StartupFault(_refused(host))
        also = ", and may have models loaded anew (admin.enabled)" if settings.admin.enabled else ""
        return [
            f"INSECURE: whoever reaches {host} is served, without a key (security.insecure is "
            f"set){also}"
        ]
    if security.certificate is None and security.keys is not None:
        return [
            f"keys travel to {host} unencrypted; set security.certificate and "
            "security.private_key unless a proxy in front does TLS"
        ]
    return []


def _refused(host: str) -> str:
    return (
        f"server.host {host} is reached by other machines, and nobody would be asked for a key. "
        "Either make keys:\n"
        "    soft-verifier keys create NAME --scope score,predict --file keys.toml\n"
        "and name the file (security.keys in the settings, or SOFT_VERIFIER_SECURITY__KEYS="
        "keys.toml); or ask for client certificates (security.client_ca); or serve everyone on "
        "that network: --insecure (security.insecure, SOFT_VERIFIER_SECURITY__INSECURE=true)"
    )
