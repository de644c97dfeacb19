from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest


@pytest.mark.parametrize("after_s", [0.15, 0.4])
def test_an_interrupt_while_python_still_imports_is_one_line(after_s: float) -> None:
    command = [sys.executable, "-m", "service", "doctor"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    time.sleep(after_s)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert child.returncode in (130, -signal.SIGINT)  # the latter: Python itself was still starting
    assert "Traceback" not in errors or "site" in errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["srve"], "No such command 'srve'"),
        (["serve", "--prt", "1"], "No such option"),
        (["score"], "Missing argument"),
        (["score", "nowhere.jsonl", "--profile", "starter"], "nowhere.jsonl"),
        (["profiles", "show", "rbio-mpl"], "did you mean 'rbio-mlp'"),
        (["models", "--model", "nowhere"], "no checkpoint at nowhere"),
    ],
    ids=["command", "option", "argument", "file", "profile", "model"],
)
def test_a_mistake_is_one_clear_message(arguments: list[str], says: str, tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
