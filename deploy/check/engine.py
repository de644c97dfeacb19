"""Podman or Docker on this machine, made to run containers, and its compose.

Where the limits of this process are hard (a container in a container), Podman's own defaults cannot
be set; it is then given a configuration that asks for less. Nothing outside of the work folder is
written, packages are installed only where that was asked for.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("podman", "runc", "netavark", "aardvark-dns", "iptables", "debootstrap")
DEFAULT_LIMIT = 1_048_576
"""What Podman asks for, of open files and of processes."""
COMPOSE = "podman-compose>=1.2"


class CannotRun(Exception):
    """Containers cannot run here; the message says why."""


class Failed(Exception):
    """Something that must hold does not."""


def say(line: str) -> None:
    """One line of progress."""
    print(f"containers: {line}", flush=True)


class Engine:
    """One engine, and how it is called.

    Args:
        work: folder for what is written.
        install: install Podman from the distribution's packages where there is none.

    Raises:
        CannotRun: no engine that answers.
    """

    def __init__(self, work: Path, *, install: bool) -> None:
        self._work = work
        self.environment = dict(os.environ)
        self.name = self._found(install=install)
        self.docker = self.name == "docker"
        if not self.docker:
            self._limit()

    def run(
        self, *arguments: str, check: bool = True, quiet: bool = True, seconds: float = 1800
    ) -> subprocess.CompletedProcess[str]:
        """Call the engine.

        Raises:
            Failed: it ended with another code than 0, and ``check``.
        """
        return self._call([self.name, *arguments], check=check, quiet=quiet, seconds=seconds)

    def compose(self, file: Path, project: str, *arguments: str, check: bool = True) -> str:
        """Call its compose with the variables of ``environment``; what it printed."""
        command = [self.name, "compose"] if self.docker else [str(self._podman_compose())]
        command += ["-f", str(file), "-p", project, *arguments]
        return self._call(command, check=check, quiet=True, seconds=600).stdout

    def _call(
        self, command: Sequence[str], *, check: bool, quiet: bool, seconds: float
    ) -> subprocess.CompletedProcess[str]:
        try:
            done = subprocess.run(
                command,
                env=self.environment,
                text=True,
                stdout=subprocess.PIPE if quiet else None,
                stderr=subprocess.PIPE if quiet else None,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(command)}: not done after {seconds:.0f} s") from None
        if check and done.returncode:
            said = f"\n{done.stdout}\n{done.stderr}" if quiet else ""
            raise Failed(f"{' '.join(command)}: ended with {done.returncode}{said}")
        return done

    def _found(self, *, install: bool) -> str:
        if self._answers("podman"):
            return "podman"
        if self._answers("docker"):
            return "docker"
        if not install:
            raise CannotRun("neither podman nor docker answers; --install gets podman from apt")
        if os.geteuid() or not shutil.which("apt-get"):
            raise CannotRun("neither podman nor docker answers; --install needs root and apt-get")
        say(f"apt-get install {' '.join(PACKAGES)}")
        quiet = {"DEBIAN_FRONTEND": "noninteractive", **os.environ}
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
            done = subprocess.run(
                ["apt-get", "-qq", *arguments],
                env=quiet,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise CannotRun(f"apt-get {arguments[0]}: {done.stderr.strip()[-400:]}")
        if not self._answers("podman"):
            raise CannotRun("podman was installed and does not answer to `podman info`")
        return "podman"

    @staticmethod
    def _answers(name: str) -> bool:
        if shutil.which(name) is None:
            return False
        done = subprocess.run([name, "info"], capture_output=True, check=False)
        # docker's client ends with 0 without a daemon and says so in what it prints
        return not done.returncode and b"Cannot connect" not in done.stdout + done.stderr

    def _limit(self) -> None:
        """Ask for limits that this process may set: Podman's own default is 1,048,576 files."""
        lines = []
        for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
            hard = resource.getrlimit(number)[1]
            if hard != resource.RLIM_INFINITY and hard < DEFAULT_LIMIT:
                asked = hard if name == "nofile" else max(1024, hard // 8)  # the runtime has less
                lines.append(f'"{name}={asked}:{asked}"')
        if "CONTAINERS_CONF" in os.environ or not lines:
            return
        file = self._work / "containers.conf"
        file.write_text(f"[containers]\ndefault_ulimits = [{', '.join(lines)}]\n", encoding="utf-8")
        self.environment["CONTAINERS_CONF"] = str(file)

    def _podman_compose(self) -> Path:
        """From PyPI: what distributions carry is too old for profiles."""
        folder = self._work / "podman-compose"
        script = folder / "bin" / "podman-compose"
        if not script.exists():
            venv.create(folder, with_pip=True)
            pip = [str(folder / "bin" / "pip"), "install", "--quiet", COMPOSE]
            done = subprocess.run(pip, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CannotRun(f"{COMPOSE} cannot be installed: {done.stderr.strip()[-400:]}")
        return script
