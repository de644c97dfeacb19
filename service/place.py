"""What a process of a server with several is given by its parent."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from service.addresses import Addresses
from service.control import Held
from service.doorway import Seats


@dataclass(frozen=True, slots=True)
class Place:
    """One process among its siblings.

    Attributes:
        number: which worker, or which model host.
        role: how it is called in logs and at /readyz.
        control: its end of the socket pair with the parent.
        folder: what all processes share: metrics, and sockets of model hosts.
        http: the listening socket of all workers.
        seats: how many connections each worker has.
        addresses: how many each address has with all of them.
        grpc_port: that all workers bind.
        held: models that hosts have.
    """

    number: int
    role: str
    control: socket.socket
    folder: Path
    http: socket.socket
    seats: Seats
    addresses: Addresses
    grpc_port: int
    held: tuple[Held, ...] = ()
