"""What every adapter is told: by keyword, else by environment, else an error that says what to set.

    SOFT_VERIFIER_URL         http://host:8080
    SOFT_VERIFIER_PROFILE     rbio-mlp, or rbio-mlp@sha256:… to pin it
    SOFT_VERIFIER_TOKEN       the API key, sent as a bearer token
    SOFT_VERIFIER_CA_FILE     PEM file of the authority to trust, for https
    SOFT_VERIFIER_CERT_FILE   PEM file of our own certificate, where the server asks for one
    SOFT_VERIFIER_KEY_FILE    PEM file of its private key
    SOFT_VERIFIER_NEUTRAL     the number for a completion without a reward, where a trainer needs
                              one (see ``outcomes``); finite; by default the profile's own
    SOFT_VERIFIER_ON_FAILURE  neutral (default) or raise, for trainers that need a number
    SOFT_VERIFIER_DEADLINE    seconds that one call may take, retries included
    SOFT_VERIFIER_RUN         name of the run, for the server's metrics and audit
    SOFT_VERIFIER_SPLIT       train, test …, likewise

Limits: HTTP only; a profile's facts are listed over HTTP alone, and gRPC does not survive the
forks that trainers make.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any, Final

from softverifier.errors import UsageError
from softverifier.options import redacted, split_key

VARIABLES: Final = {
    "url": "SOFT_VERIFIER_URL",
    "profile": "SOFT_VERIFIER_PROFILE",
    "token": "SOFT_VERIFIER_TOKEN",
    "ca_file": "SOFT_VERIFIER_CA_FILE",
    "cert_file": "SOFT_VERIFIER_CERT_FILE",
    "key_file": "SOFT_VERIFIER_KEY_FILE",
    "neutral": "SOFT_VERIFIER_NEUTRAL",
    "on_failure": "SOFT_VERIFIER_ON_FAILURE",
    "deadline": "SOFT_VERIFIER_DEADLINE",
    "run": "SOFT_VERIFIER_RUN",
    "split": "SOFT_VERIFIER_SPLIT",
}
PATIENCE_S: Final = 60.0
"""Seconds that one call may take if nobody says."""
ON_FAILURE: Final = ("neutral", "raise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Where rewards come from and what stands in for a missing one.

    Attributes:
        url: ``http(s)://host:port``.
        profile: the recipe.
        token: bearer token.
        ca_file: authority to trust, for https.
        cert_file: our own certificate.
        key_file: its private key.
        neutral: reward of a completion that has none; None: the profile's own.
        on_failure: ``neutral`` or ``raise``.
        deadline: seconds that one call may take, retries included.
        run: name of the run.
        split: of the data.
    """

    url: str
    profile: str
    token: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    neutral: float | None = None
    on_failure: str = "neutral"
    deadline: float = PATIENCE_S
    run: str | None = None
    split: str | None = None


def configured(*, patience: float = PATIENCE_S, **given: Any) -> Configuration:
    """The configuration of one adapter.

    Args:
        patience: seconds a call may take if nobody says; an adapter whose trainer has a timeout
            of its own passes less than that.
        given: fields of ``Configuration``; None counts as not given.

    Raises:
        UsageError: unknown keyword, no URL, no profile, or a value that cannot work.
    """
    unknown = sorted(set(given) - set(VARIABLES))
    if unknown:
        raise UsageError(f"no option {unknown[0]!r}; there are {', '.join(VARIABLES)}")
    found = {name: given.get(name) for name in VARIABLES}
    for name, variable in VARIABLES.items():
        if found[name] is None:
            found[name] = os.environ.get(variable) or None
    for name, example in (("url", "http://localhost:8080"), ("profile", "rbio-mlp")):
        if found[name] is None:
            raise UsageError(
                f"no {name}: set {VARIABLES[name]}, e.g. {example}, or pass {name}= to the adapter"
            )
    if not str(found["url"]).startswith(("http://", "https://")):
        raise UsageError(
            f"url {redacted(str(found['url']))!r}: adapters speak HTTP; expected http(s)://host:port"
        )
    if (found["on_failure"] or "neutral") not in ON_FAILURE:
        raise UsageError(f"on_failure is {found['on_failure']!r}, expected neutral or raise")
    url, key = split_key(str(found["url"]))
    return Configuration(
        url=url,
        profile=str(found["profile"]),
        token=found["token"] or key,
        ca_file=found["ca_file"],
        cert_file=found["cert_file"],
        key_file=found["key_file"],
        neutral=_number("neutral", found["neutral"]),
        on_failure=found["on_failure"] or "neutral",
        deadline=_seconds(found["deadline"], patience),
        run=found["run"],
        split=found["split"],
    )


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise UsageError(f"{name} is {value!r}, expected a finite number ({VARIABLES[name]})")
    return found


def _seconds(value: Any, otherwise: float) -> float:
    found = _number("deadline", value)
    if found is None:
        return otherwise
    if found <= 0:
        raise UsageError(
            f"deadline is {value!r}, expected seconds above 0 (SOFT_VERIFIER_DEADLINE)"
        )
    return found
