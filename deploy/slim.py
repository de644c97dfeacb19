"""Remove from an installed environment what no server runs: ``python3 slim.py ENVIRONMENT``.

The packages' own tests, C headers, static libraries and CMake files; about a third of a CPU image.
Every removal is of a folder or a file kind that is listed below; packages whose ``tests`` are part
of what they do are kept whole. The image's check imports and scores with what is left.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

FOLDERS = ("tests", "test", "include")
"""Folders that only builds and tests read, at any depth below a package."""
SUFFIXES = (".a", ".h", ".hpp", ".cuh", ".pyx", ".pxd", ".cmake", ".c", ".cpp")
"""Files that only compilers read."""
KEPT = ("torch/testing", "numpy/testing", "sympy/testing")
"""Imported by the packages themselves."""


def main(environment: Path) -> int:
    """Remove, and print how much; 2 for a folder that is no environment."""
    found = sorted(environment.glob("lib/python3*/site-packages"))
    if len(found) != 1:
        print(f"{environment}: no environment with one site-packages", file=sys.stderr)
        return 2
    packages = found[0]
    before = _size(environment)
    for folder in sorted(packages.rglob("*"), reverse=True):
        inside = folder.relative_to(packages).as_posix()
        if any(kept in inside for kept in KEPT):
            continue
        if folder.is_dir() and folder.name in FOLDERS and folder.parent != packages:
            shutil.rmtree(folder)
        elif folder.suffix in SUFFIXES and folder.is_file():
            folder.unlink()
    shutil.rmtree(environment / "include", ignore_errors=True)
    print(f"{before - _size(environment):,} of {before:,} bytes removed")
    return 0


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
