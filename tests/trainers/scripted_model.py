"""An OpenAI-compatible endpoint that says what the prompt's brackets ask for: ``[yes]``, ``[no]``.

For programs under a trainer's interpreter; standard library alone.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SCRIPT: dict[str, dict[str, str]] = {
    "yes": {"content": "<think>It may.</think><answer>yes</answer>"},
    "no": {"content": "<think>It may.</think><answer>no</answer>"},
    "reasoned": {"content": "<answer>yes</answer>", "reasoning_content": "It may."},
    "silent": {"content": "I cannot say."},
    "outage": {"content": "<think>OUTAGE</think><answer>yes</answer>"},
}


def task_about(gene: str) -> dict[str, str]:
    about = {"type": "perturbation.de", "perturbation": "AARS1", "gene": gene}
    return {**about, "cell_line": "k562"}


class Model(ThreadingHTTPServer):
    """Listens at once, until the process ends."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Answers)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        named = re.findall(r"\[(\w+)\]", str(asked["messages"][-1]["content"]))[-1]
        told = {
            "id": "answer",
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", **SCRIPT[named]},
                }
            ],
            "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
        }
        content = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
