"""The reward service: batched verification of completions over HTTP and gRPC."""

__version__ = "0.1.0"
