"""The Redis Cluster of the overlay `disaggregated`, its settings and its Job in containers.

Six containers with the names that the pods would have; what a StatefulSet and its volumes do is not
covered.
"""

from __future__ import annotations

from pathlib import Path

from engine import Engine, Failed, say
from stack import wait

NAME = "soft-verifier-check-cluster"
PODS = 6
FOLDER = Path("deploy") / "kubernetes" / "components" / "redis-cluster"
RESTRICTED = ("--read-only", "--cap-drop", "ALL", "--user", "999:999", "--network", NAME)


def joins(engine: Engine, image: str, repository: Path) -> None:
    """The Job joins the pods, finds them joined the second time, and a master may be lost.

    Raises:
        Failed: it does not.
    """
    clear(engine)
    settings = ("--volume", f"{repository / FOLDER}:/etc/redis:ro")
    engine.run("network", "create", NAME)
    try:
        for i in range(PODS):
            alias = ("--network-alias", f"redis-cluster-{i}.redis-cluster")
            place = ("--name", f"{NAME}-{i}", *RESTRICTED, *alias, "--tmpfs", "/data:mode=777")
            command = ("redis-server", "/etc/redis/redis.conf")
            engine.run("run", "--detach", *place, *settings, image, *command)
        job = ("run", "--rm", *RESTRICTED, *settings, image, "sh", "/etc/redis/join.sh")
        engine.run(*job, seconds=120)
        wait(lambda: "cluster_state:ok" in _cli(engine, 1, "info"), 30, "the Redis cluster joined")
        if "the cluster is there" not in engine.run(*job, seconds=120).stdout:
            raise Failed("the Job joined a cluster that was joined")
        before = _masters(engine)
        lost = _cli(engine, 0, "myid").strip()
        if len(before) != 3 or lost not in before:
            raise Failed(f"{len(before)} masters, expected 3 with the first pod ({lost})")
        engine.run("kill", f"{NAME}-0")
        seconds = wait(lambda: _replaced(engine, before, lost), 60, "a lost master replaced")
        say(f"Redis Cluster: joined once; a lost master was replaced in {seconds:.0f} s")
    finally:
        clear(engine)


def clear(engine: Engine) -> None:
    """Remove all of it."""
    for i in range(PODS):
        engine.run("rm", "--force", f"{NAME}-{i}", check=False)
    engine.run("network", "rm", NAME, check=False)


def _masters(engine: Engine) -> set[str]:
    """Masters that are there and hold slots, as the second pod sees it."""
    rows = [line.split() for line in _cli(engine, 1, "nodes").splitlines()]
    return {row[0] for row in rows if "master" in row[2] and "fail" not in row[2] and len(row) > 8}


def _replaced(engine: Engine, before: set[str], lost: str) -> bool:
    """Whether as many masters hold the slots as before, another one in the lost one's place."""
    now = _masters(engine)
    return len(now) == len(before) and lost not in now


def _cli(engine: Engine, pod: int, question: str) -> str:
    asked = ("redis-cli", "cluster", question)
    return engine.run("exec", f"{NAME}-{pod}", *asked, check=False).stdout
