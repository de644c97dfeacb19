"""Who may do what: the one place that decides it, for both ports.

What is not named here needs the scope ``admin`` if it changes anything, and a key with any scope
if it reads. Health is open: those who ask have no key. Without a file of keys everybody may do
everything, which the server only offers to its own machine (``exposure``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final

from service.errors import Forbidden, ServiceError, Unauthenticated
from service.metrics import Metrics
from service.security.allowance import Allowance
from service.security.credentials import presented
from service.security.keys import Key, Keyring

OPEN: Final = "open"
ANY: Final = "any"
"""Any key, whatever its scopes."""
_ROUTES: Final = {
    **dict.fromkeys(
        (
            "/v1/score", "/get_reward", "/rm", "/seed_session", "/verify", "/aggregate_metrics",
            "/test_program", "/classify", "/reverify_mode", "/global_config_dict_yaml",
        ),
        "score",
    ),
    "/v1/predict": "predict",
    "/metrics": "metrics",
    "/healthz": OPEN,
    "/readyz": OPEN,
}  # fmt: skip
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PROCEDURES: Final = {
    "/softverifier.v1.Rewards/Score": "score",
    "/softverifier.v1.Rewards/ScoreStream": "score",
    "/softverifier.v1.WorldModels/Predict": "predict",
    "/softverifier.v1.WorldModels/ListModels": ANY,
    "/grpc.health.v1.Health/Check": OPEN,
    "/grpc.health.v1.Health/Watch": OPEN,
    "/grpc.health.v1.Health/List": OPEN,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ANY,
}


def scope_of_route(method: str, path: str) -> str:
    """What a key must be allowed to for an HTTP route."""
    return _ROUTES.get(path) or (ANY if method in _READING else "admin")


def scope_of_procedure(name: str) -> str:
    """The same for a gRPC method."""
    return _PROCEDURES.get(name, "admin")


class Caller:
    """Who asks: one for each key, and one for everybody where there are no keys."""

    __slots__ = ("_allowance", "_limited", "admitted", "key")

    def __init__(self, key: Key | None = None, allowance: Allowance | None = None):
        self.key = key
        self._allowance = allowance
        self._limited = key is not None and key.limited
        self.admitted = 0
        """Items of a key without limits that the metrics have not been told of."""

    @property
    def waits(self) -> bool:
        """Whether charging may have to wait for Redis."""
        return self._limited and self._allowance is not None and self._allowance.waits

    @property
    def expired(self) -> bool:
        """Whether the key's time is over."""
        return self.key is not None and self.key.expired

    async def charge(self, items: int) -> None:
        """Count items against the key's limits; raises as ``Allowance.charge``."""
        if not self._limited:
            self.admitted += items
        elif self.key is not None and self._allowance is not None:
            await self._allowance.charge(self.key, items)

    def charge_now(self, items: int) -> None:
        """The same for a caller that does not wait."""
        if not self._limited:
            self.admitted += items
        elif self.key is not None and self._allowance is not None:
            self._allowance.charge_now(self.key, items)

    def refund(self, items: int) -> None:
        """Give back what was charged for a request that was not answered."""
        if not self._limited and self.admitted >= items:
            self.admitted -= items
        elif self.key is not None and self._allowance is not None:
            self._allowance.refund(self.key, items)

    def paying(self, items: int) -> _Payment:
        """A block whose items are charged before it and given back if it ends in an error."""
        return _Payment(self, items)


class _Payment:
    __slots__ = ("_caller", "_items")

    def __init__(self, caller: Caller, items: int):
        self._caller = caller
        self._items = items

    async def __aenter__(self) -> None:
        if self._caller.key is not None:
            await self._caller.charge(self._items)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        # Whoever goes away himself has had his share computed; a fault of ours costs him nothing,
        # nor what is given up to be begun anew (GeneratorExit), where it is charged again.
        if error is not None and not isinstance(error, asyncio.CancelledError):
            self._caller.refund(self._items)


ANYONE: Final = Caller()


class Gate:
    """Lets requests in or says why not.

    Args:
        metrics: counts of who was turned away.
        allowance: what counts the use of keys, once some are adopted; till then nobody is asked
            for one.
        certified: client certificates are asked for.
        open_metrics: /metrics needs no key.
    """

    def __init__(
        self,
        metrics: Metrics,
        allowance: Allowance | None = None,
        *,
        certified: bool = False,
        open_metrics: bool = False,
    ):
        self._metrics = metrics
        self._allowance = allowance
        self._keyring: Keyring | None = None
        self._callers: dict[str, Caller] = {}
        self.certified = certified
        """Whether client certificates are asked for."""
        self._open_metrics = open_metrics
        metrics.watch(self._tell)
        self.generation = 0
        """Of the keys: who remembers whom he let in asks again when it has changed."""

    @property
    def keyed(self) -> bool:
        """Whether keys are asked for."""
        return self._keyring is not None

    @property
    def bars(self) -> bool:
        """Whether anybody can be turned away."""
        return self._keyring is not None or self.certified

    def opens(self, scope: str) -> bool:
        """Whether nobody is asked for anything who asks for this."""
        return scope == OPEN or (scope == "metrics" and self._open_metrics)

    def adopt(self, keyring: Keyring) -> None:
        """Ask everybody for one of these keys from now on."""
        self.generation += 1
        self._keyring = keyring
        self._tell(self._metrics)
        self._callers.clear()

    def _tell(self, metrics: Metrics) -> None:
        """Let the metrics know what keys without limits have asked; not told one by one."""
        for caller in self._callers.values():
            if caller.key is not None and caller.admitted:
                metrics.key_items(caller.key.name, "admitted", caller.admitted)
                caller.admitted = 0

    def admit(
        self, scope: str, authorization: bytes | None, given: bytes | None, *, certified: bool
    ) -> Caller:
        """Whoever asks for a scope.

        Args:
            scope: what he asks for.
            authorization: the header of that name.
            given: a key from elsewhere (the URL), which goes over the header.
            certified: he has shown a client certificate that our authorities signed.

        Raises:
            Unauthenticated: no key, an unknown or expired one, no certificate. Forbidden: the key
            may not do this.
        """
        if self.opens(scope):
            return ANYONE
        if self.certified and not certified:
            raise Unauthenticated(
                "this server asks for a client certificate and none came; send one that its "
                "security.client_ca signed",
                field="certificate",
            )
        if self._keyring is None:
            return ANYONE
        return self._known(self._keyring, scope, authorization, given)

    def _known(
        self, keyring: Keyring, scope: str, authorization: bytes | None, given: bytes | None
    ) -> Caller:
        if given is None:
            if not authorization:
                raise Unauthenticated(
                    "an API key is needed: send it as `Authorization: Bearer KEY`, as the user in "
                    "http://KEY@host, or as ?key=KEY"
                )
            given = presented(authorization)
        key = keyring.verified(given)
        if scope != ANY and scope not in key.scopes:
            has = ", ".join(sorted(key.scopes))
            raise Forbidden(f"API key {key.name!r} has no scope {scope!r}; it has: {has}")
        caller = self._callers.get(key.id)
        if caller is None:
            caller = self._callers[key.id] = Caller(key, self._allowance)
        return caller

    def count(self, error: ServiceError) -> None:
        """Count somebody who was turned away."""
        cause = "scope" if isinstance(error, Forbidden) else error.field or "key"
        self._metrics.refused(cause)

    def admit_call(self, procedure: str, metadata: Iterable[Any]) -> Caller:
        """Whoever calls a gRPC method; its port has seen the certificate already.

        Args:
            procedure: ``/package.Service/Method``.
            metadata: names and values of the call.
        """
        shown = next((value for name, value in metadata if name == "authorization"), None)
        if isinstance(shown, str):
            shown = shown.encode("latin-1", "replace")
        return self.admit(scope_of_procedure(procedure), shown, None, certified=True)
