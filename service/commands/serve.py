"""``soft-verifier serve``: load the models, listen, print a request that works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from service import (
    __version__,
    app,
    hosting,
    offspring,
    placement,
    serving,
    settings,
    workers,
)
from service.batcher import Hosted
from service.guard import outcomes
from service.place import Place
from service.security import exposure
from worldmodels import devices


def serve(
    model: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of a trained model to serve; may be repeated."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings file; soft-verifier.toml if there is one.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address; 0.0.0.0 for other machines.")] = None,
    http_port: Annotated[int | None, typer.Option(help="HTTP port (8080).")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="gRPC port (50051).")] = None,
    workers_: Annotated[
        int | None, typer.Option("--workers", help="Processes that share the ports (1).")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda or cuda:N, for models whose entry names none (auto)."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve other machines without asking for keys.")
    ] = False,
) -> None:
    """Serve rewards over HTTP and gRPC until SIGTERM.

    \b
    Examples:
      soft-verifier serve
      soft-verifier serve --model models/k562-mlp --http-port 9000
      soft-verifier serve --model models/scgpt --device cuda:0
      SOFT_VERIFIER_CACHE__REDIS_URL=redis://localhost:6379 soft-verifier serve --workers 4
    """
    options = {
        "host": host,
        "http_port": http_port,
        "grpc_port": grpc_port,
        "workers": workers_,
        "device": device,
    }
    overrides: dict[str, Any] = {"server": {k: v for k, v in options.items() if v is not None}}
    if insecure:
        overrides["security"] = {"insecure": True}
    loaded = settings.load(config, overrides)
    if model:
        loaded = settings.with_models(loaded, model)
    if loaded.server.workers > 1:
        raise typer.Exit(_serve_many(loaded))
    raise typer.Exit(serving.run(loaded, _banner))


def _serve_many(loaded: settings.Settings) -> int:
    """Hold the ports, let workers serve them."""
    serving.configure_logging(loaded)
    server = loaded.server
    exposure.check(loaded)  # each worker says what there is to say
    for what, port in (("http_port", server.http_port), ("grpc_port", server.grpc_port)):
        serving.listen(server.host, port, shared=False, what=what).close()
    http = serving.listen(server.host, server.http_port, shared=False, what="http_port")
    # Bound, and never listened on: it keeps the port ours while workers come and go.
    grpc = serving.listen(server.host, server.grpc_port, shared=True, what="grpc_port")
    ports = (http.getsockname()[1], grpc.getsockname()[1])
    if code := offspring.alone(lambda: _prepared(loaded)):
        return code
    hosts = placement.plan(loaded, lambda: offspring.alone(lambda: len(devices.gpus())))
    url = f"{_scheme(loaded)}://{_reachable(server.host)}:{ports[0]}"

    def banner() -> None:
        print(f"\nsoft-verifier {__version__}, {server.workers} workers\n")
        print(f"  HTTP    {url}   (docs at {url}/docs)")
        print(f"  gRPC    {_reachable(server.host)}:{ports[1]}")
        print("\nReady. Ctrl-C ends the server.", flush=True)

    def work(place: Place) -> int:
        return serving.run(loaded, lambda *_: None, place)

    def host(place: Place, plan: placement.HostPlan) -> int:
        return hosting.Host(loaded, place, plan).run()

    with grpc:
        return workers.Supervisor(
            workers=server.workers,
            hosts=hosts,
            http=http,
            grpc_port=ports[1],
            grace_s=server.grace_s,
            hang_s=loaded.processes.hang_s,
            work=work,
            host=host,
            banner=banner,
        ).run()


def _prepared(loaded: settings.Settings) -> int:
    app.prepare(loaded)
    return 0


def _scheme(loaded: settings.Settings) -> str:
    return "http" if loaded.security.certificate is None else "https"


def _reachable(host: str) -> str:
    """The address to print for one that stands for all."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)


def _banner(service: app.Service, http_port: int, grpc_port: int) -> None:
    host = _reachable(service.settings.server.host)
    url = f"{_scheme(service.settings)}://{host}:{http_port}"
    pipeline = service.pipeline
    print(f"\nsoft-verifier {__version__}\n")
    print(f"  HTTP    {url}   (docs at {url}/docs)")
    print(f"  gRPC    {host}:{grpc_port}")
    for model in pipeline.models:
        spec = model.spec
        known = f"{spec.vocabulary:,} genes" if spec.vocabulary else "any gene"
        contexts = ", ".join(spec.contexts) + ", others pooled" * spec.pools or "any context"
        answers = ", ".join(spec.relations)
        print(f"  model   {spec.name} ({spec.family}): {answers}; {known}; {contexts}")
    security = service.settings.security
    key = '-H "authorization: Bearer $KEY" ' if security.keys is not None else ""
    key += f"--cacert {security.certificate} " if security.certificate is not None else ""
    for profile, request in example_requests(service):
        print(f"\n{profile}, a request that works:\n")
        print(f"  curl -s {key}{url}/v1/score -H 'content-type: application/json' -d '{request}'")
    print("\nReady. Ctrl-C ends the server.", flush=True)


def example_requests(service: app.Service) -> list[tuple[str, str]]:
    """For each served model, a profile that uses it and a request that earns a reward."""
    shown = []
    for hosted in service.pipeline.models:
        for name, task in (("starter", "gene.coexpression"), ("rbio-mlp", "perturbation.de")):
            profile = service.pipeline.profiles[name]
            fits = any(
                hosted in service.pipeline.models.candidates(*selector)
                for selector in profile.selectors
            )
            if fits and task in hosted.spec.relations:
                shown.append((name, json.dumps(_request(name, task, hosted))))
    return shown


def _request(profile: str, task: str, hosted: Hosted) -> dict[str, Any]:
    """A completion about the pair that the model is surest of among its examples."""
    queries = hosted.model.examples(256)
    rows = outcomes(hosted.ask_now(queries))
    best = max(range(len(rows)), key=lambda i: rows[i].p or 0.0)
    a, b, context = queries.subjects[best], queries.objects[best], queries.contexts[best]
    if task == "gene.coexpression":
        asked: dict[str, Any] = {"type": task, "genes": [a, b]}
    else:
        asked = {"type": task, "perturbation": a, "gene": b, "cell_line": context}
    completion = (
        f"<think>I weigh what is known of {a} and {b} before I answer.</think>"
        "\n<answer>yes</answer>"
    )
    return {"profile": profile, "items": [{"completion": completion, "task": asked}]}
