"""What tests of the HTTP client ask, and both clients asking it."""

from __future__ import annotations

import asyncio

import fault_http as double

from softverifier import AsyncRewardClient, RewardClient

TASK = {"type": "perturbation.de", "perturbation": "AARS1", "gene": "CALR", "cell_line": "k562"}


def items(n, text="x"):
    return [{"id": f"r{i}", "completion": text * (i % 97 + 1), "task": TASK} for i in range(n)]


def expected(asked):
    return [double.result_of(item)["reward"] for item in asked]


def run_both(server, **options):
    """The same call through both clients."""

    async def awaited(asked):
        async with AsyncRewardClient(server.url, profile="p", **options) as client:
            return await client.score(asked)

    def blocking(asked):
        with RewardClient(server.url, profile="p", **options) as client:
            return client.score(asked)

    return [blocking, lambda asked: asyncio.run(awaited(asked))]
