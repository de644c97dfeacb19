"""Servers for the client's tests."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the doubles lie beside the tests

from fault_grpc import GrpcDouble
from fault_http import FaultServer
from http_calls import run_both


@pytest.fixture
def server():
    made = FaultServer()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def grpc_server():
    double = GrpcDouble()
    double.start()
    yield double
    double.stop()


@pytest.fixture
def no_pauses(monkeypatch):
    """Backoff without waiting; returns the pauses asked for."""
    pauses = []
    monkeypatch.setattr("softverifier.patience.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("softverifier.patience.LONGEST_PAUSE_S", 0.002)
    return pauses


@pytest.fixture(params=["blocking", "asyncio"])
def score(request, server, no_pauses):
    """``score(items, **options)`` through either client."""

    def call(asked, **options):
        blocking, awaited = run_both(server, **options)
        return (blocking if request.param == "blocking" else awaited)(asked)

    return call
