"""Print what server and client need, one requirement a line: ``python requirements.py [EXTRA]…``.

Run beside ``pyproject.toml`` and ``client/pyproject.toml``, so that an image installs other
people's packages before it sees ours, and keeps that layer when only ours change.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

OURS = "softverifier"


def main(extras: list[str]) -> int:
    """Print them; 2 for an extra that there is not."""
    server = _project(Path("pyproject.toml"))
    client = _project(Path("client/pyproject.toml"))
    offered = server["optional-dependencies"]
    if unknown := sorted(set(extras) - set(offered)):
        print(f"no extra {', '.join(unknown)}; there are {', '.join(offered)}", file=sys.stderr)
        return 2
    wanted = [*server["dependencies"], *(need for extra in extras for need in offered[extra])]
    wanted += [*client["dependencies"], *client["optional-dependencies"]["grpc"]]
    print(*sorted({need for need in wanted if not need.startswith(OURS)}), sep="\n")
    return 0


def _project(file: Path) -> dict:
    return tomllib.loads(file.read_text(encoding="utf-8"))["project"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
