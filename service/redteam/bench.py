"""Work that may never end, done in a child process that is killed where it exceeds its budget.

The child speaks JSON, one line a piece of work, and lives until its owner closes it. CPU time
counts, not waiting; what exceeds it is TOO_LONG, as on a server. The first piece of each function
may take longer (its libraries are loaded); a child that was ended is replaced, and warmed by the
same pieces, before the next one counts.

Limits: one piece at a time; for the red team and the fuzzer. A server has its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import Any, Final

from service.rewards.core import Finding, Reason, Work

WARM_UP_S: Final = 60.0
_GRACE: Final = 20.0
"""Budgets of wall time after which a child that does not compute is ended."""
_CHILD: Final = "from service.redteam.bench import serve; serve()"


class WorkFault(RuntimeError):
    """The function of a piece of work raised, or broke its process."""


class Bench:
    """Carries out work within ``budget_s`` seconds each. Close it, or use it in a ``with``."""

    def __init__(self, budget_s: float = 1.0) -> None:
        self.budget_s = budget_s
        self._child: subprocess.Popen[bytes] | None = None
        self._warm: dict[str, Work] = {}
        self._loaded: set[str] = set()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def carry_out(self, work: Work) -> Finding:
        """The finding; TOO_LONG where it took more than its budget.

        Raises:
            WorkFault: what the function raised, in words.
        """
        if self._child is None:
            self._start()
        budget = self.budget_s if work.function in self._loaded else WARM_UP_S
        answer = self._ask(work, budget)
        if answer is None:
            self._kill()
            return Finding(Reason.TOO_LONG)
        self._loaded.add(work.function)
        self._warm.setdefault(work.function, work)
        if "crash" in answer:
            raise WorkFault(f"{work.function}: {answer['crash']}")
        return Finding(Reason.OK, answer["value"])

    def _start(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
        self._child = subprocess.Popen(
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        for function, work in self._warm.items():
            if self._ask(work, WARM_UP_S) is not None:
                self._loaded.add(function)

    def _ask(self, work: Work, budget_s: float) -> dict[str, Any] | None:
        child = self._child
        assert child is not None
        assert child.stdin is not None
        assert child.stdout is not None
        line = b""
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(json.dumps([budget_s, *work]).encode() + b"\n")
            child.stdin.flush()
            line = child.stdout.readline()
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        self._kill()
        if child.returncode in (-signal.SIGPROF, -signal.SIGALRM):
            return None
        raise WorkFault(f"{work.function}: its process died ({child.returncode})")

    def _kill(self) -> None:
        child, self._child = self._child, None
        self._loaded.clear()
        if child is not None:
            if child.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    child.stdin.close()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()

    def close(self) -> None:
        """End the child; twice is fine."""
        self._kill()


def serve() -> None:
    """The child: work from standard input, findings to standard output."""
    from service.rewards.works import carry_out

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints goes elsewhere
    for line in sys.stdin:  # SIGPROF and SIGALRM end the process: no library holds that off
        budget_s, function, arguments = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, budget_s)
        signal.setitimer(signal.ITIMER_REAL, budget_s * _GRACE)
        try:
            value = carry_out(Work(function, _tuples(arguments))).value
            answer = json.dumps({"value": value})
        except Exception as error:  # noqa: BLE001 - told to the owner, who raises it
            answer = json.dumps({"crash": f"{type(error).__name__}: {error}"[:500]})
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(answer + "\n")
        answers.flush()


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that were sent."""
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value
