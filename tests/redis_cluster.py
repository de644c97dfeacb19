"""A real Redis Cluster on loopback: masters without replicas, each holding a part of the slots."""

from __future__ import annotations

from pathlib import Path

import redis

from servers import RedisProcess, wait_until

SLOTS = 16384


class RedisCluster:
    """Masters that a test may kill one by one."""

    def __init__(self, folder: Path, masters: int = 3) -> None:
        self.nodes = []
        for i in range(masters):
            own = folder / f"node-{i}"
            own.mkdir()
            options = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
            self.nodes.append(RedisProcess(own, *options))

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    def start(self) -> RedisCluster:
        """Start the masters, share the slots out, let them meet."""
        bounds = [SLOTS * i // len(self.nodes) for i in range(len(self.nodes) + 1)]
        for i, node in enumerate(self.nodes):
            node.start()
            with _client(node) as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", bounds[i], bounds[i + 1] - 1)
                client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
        wait_until(self._whole, 30, "the Redis cluster did not come together")
        return self

    def keys(self) -> list[int]:
        """How many keys each living master holds."""
        counts = []
        for node in self.nodes:
            if node.process is not None:
                with _client(node) as client:
                    counts.append(int(client.dbsize()))
        return counts

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()

    def _whole(self) -> bool:
        for node in self.nodes:
            with _client(node) as client:
                slots = client.execute_command("CLUSTER SLOTS")
            if len(slots) != len(self.nodes):
                return False
        return True


def _client(node: RedisProcess) -> redis.Redis:
    return redis.Redis(port=node.port)
