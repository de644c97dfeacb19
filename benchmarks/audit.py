"""What the audit log costs: one-item requests through the hot route, in process, on and off.

``python benchmarks/audit.py`` prints, for the log off and on, in turns: the CPU time that the
request path takes (the thread of the event loop), and that of the whole process, which includes
the thread that writes. Requests come in bursts of 200 with the log's own pause between them, as
the queue is emptied then; the wall clock of the pauses does not count.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

from service import app, settings
from service.front.hot import HotRoutes

BURST = 200
BURSTS = 25
COMPLETION = f"<think>{'I weigh what is known of both. ' * 30}</think>\n<answer>yes</answer>"
CONFIG = """
[starter]
enabled = false
[[models]]
family = "fake"
run = "inline"
[profiles.models]
"rbio-mlp" = "fake"
"""


def body(i: int) -> bytes:
    """A request of one item of 1 kB."""
    task = {"type": "perturbation.de", "perturbation": f"G{i % 500}", "gene": "X"}
    item = {"id": f"r{i}", "group": f"g{i // 16}", "completion": COMPLETION, "task": task}
    context = {"run": "a", "step": i // 256, "split": "train"}
    return json.dumps({"profile": "rbio-mlp", "context": context, "items": [item]}).encode()


def routes(folder: Path, *, audited: bool) -> HotRoutes:
    """The hot routes over a fake model, with or without the log."""
    file = folder / "sv.toml"
    file.write_text(f'{CONFIG}[audit]\npath = "{folder}/audit.jsonl"\n')
    pipeline = app.build(settings.load(file), audited=audited).pipeline
    if pipeline.audit is not None:
        pipeline.audit.start()
    return HotRoutes(pipeline)


def measure(hot: HotRoutes, bodies: list[bytes]) -> tuple[float, float]:
    """CPU µs per request: on the request path, and of the whole process."""
    path = 0.0
    began = time.process_time()
    for at in range(0, len(bodies), BURST):
        started = time.thread_time()
        for one in bodies[at : at + BURST]:
            assert hot.reply_now("/v1/score", one).status == 200
        path += time.thread_time() - started
        time.sleep(0.25)
    return path / len(bodies) * 1e6, (time.process_time() - began) / len(bodies) * 1e6


def main() -> None:
    """Measure in turns and print medians."""
    bodies = [body(i) for i in range(BURST * BURSTS)]
    with tempfile.TemporaryDirectory() as folder:
        kinds = {"off": False, "on": True}
        hot = {name: routes(Path(folder), audited=on) for name, on in kinds.items()}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
        for _ in range(5):
            for name, one in hot.items():
                found[name].append(measure(one, bodies))
        for one in hot.values():
            if one.pipeline.audit is not None:
                one.pipeline.audit.stop()
        for name, rows in found.items():
            path, whole = (statistics.median(column) for column in zip(*rows, strict=True))
            print(f"audit {name:3}  request path {path:6.1f} µs   whole process {whole:6.1f} µs")


if __name__ == "__main__":
    main()
