"""The way to another server: options as a user writes them, and a channel with its calls.

Limits: plain TCP, TLS, or a Unix socket of this machine; certificates are read once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from worldmodels import remote_access
from worldmodels.core import ModelFault
from worldmodels.registry import Source

if TYPE_CHECKING:
    import grpc

OPTIONS: Final[Mapping[str, str]] = {
    "url": "grpc://host:port, grpcs://host:port or unix:PATH",
    "model": "the model's name on that server",
    "timeout_s": "seconds that one request may take",
    **remote_access.OPTIONS,
}
_SERVICE: Final = "/softverifier.v1.WorldModels/"


def checked(source: Source) -> dict[str, str]:
    """The options, if they can work.

    Raises:
        ModelFault: an unknown option, or a URL that is none.
    """
    options = dict(source.options)
    for key in options:
        if key not in OPTIONS:
            near = difflib.get_close_matches(key, OPTIONS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ModelFault(
                f"model {source.name!r}: a remote model has no option {key!r}{hint} "
                f"Known: {', '.join(OPTIONS)}"
            )
    parts = urlsplit(options.get("url", ""))
    if parts.scheme == "unix" and parts.path:
        return options
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ("grpc", "grpcs") or not parts.hostname or port is None:
        raise ModelFault(
            f"model {source.name!r}: url is {options.get('url')!r}, "
            "expected grpc://host:port, grpcs://host:port or unix:PATH"
        )
    return options


def seconds(name: str, value: str) -> float:
    """A time above 0.

    Raises:
        ModelFault: it is none.
    """
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise ModelFault(f"model {name!r}: timeout_s is {value!r}, expected seconds above 0")
    return seconds


def opened(name: str, options: Mapping[str, str]) -> grpc.Channel:
    """A channel, which connects when it is first used.

    Raises:
        ModelFault: a certificate or its key cannot be read.
    """
    import grpc

    parts = urlsplit(options["url"])
    settings = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        # One name may stand for many servers (a headless Service): calls go to each in turn.
        ("grpc.lb_policy_name", "round_robin"),
    ]
    if parts.scheme == "unix":
        # The socket's own pool: after a restart nobody else's back-off is waited for.
        near = [*settings[:3], ("grpc.min_reconnect_backoff_ms", 100)]
        near += [("grpc.max_reconnect_backoff_ms", 200), ("grpc.use_local_subchannel_pool", 1)]
        return grpc.insecure_channel(options["url"], options=near)
    if parts.scheme == "grpc":
        return grpc.insecure_channel(parts.netloc, options=settings)
    access = remote_access.credentials(name, options)
    return grpc.secure_channel(parts.netloc, access, options=settings)


def calls(channel: grpc.Channel) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """``Predict`` and ``ListModels``."""
    from softverifier._pb import worldmodels_pb2 as pb

    predict = channel.unary_unary(
        f"{_SERVICE}Predict",
        request_serializer=pb.PredictRequest.SerializeToString,
        response_deserializer=pb.PredictResponse.FromString,
    )
    listing = channel.unary_unary(
        f"{_SERVICE}ListModels",
        request_serializer=pb.ListModelsRequest.SerializeToString,
        response_deserializer=pb.ListModelsResponse.FromString,
    )
    return predict, listing
