"""Every setting of the server: one TOML file, each key overridable from the environment.

``SOFT_VERIFIER_SECTION__KEY`` overrides ``key`` of ``[section]``; lists and tables are given as
JSON. This is the only module that reads the environment. Unknown keys, in the file or in the
environment, are errors that name the nearest key. Settings are built once and passed down frozen.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from service.bookkeeping_settings import Audit as Audit
from service.bookkeeping_settings import Canaries as Canaries
from service.errors import StartupFault, nearest
from service.process_settings import Admin, Processes, Rolling
from service.section import SECTION
from service.security_settings import Connections as Connections
from service.security_settings import Limits as Limits
from service.security_settings import Security as Security
from service.telemetry_settings import Telemetry as Telemetry
from worldmodels import devices

PREFIX = "SOFT_VERIFIER_"
DEFAULT_FILE = Path("soft-verifier.toml")
OTHER_VARIABLES = frozenset(
    f"SOFT_VERIFIER_{name}"
    for name in (
        "DATA", "URL", "PROFILE", "TOKEN", "CA_FILE", "CERT_FILE", "KEY_FILE", "NEUTRAL",
        "ON_FAILURE", "DEADLINE", "RUN", "SPLIT",
    )
)  # fmt: skip
"""Variables with our prefix that are not settings: where the tests look for real data, and what a
trainer's adapters read, which may stand in the same shell."""

Device = Annotated[str, Field(pattern=f"^({devices.NAMES})$")]


class Section(BaseModel):
    """One table of the file: frozen, unknown keys refused, a docstring under each field."""

    model_config = SECTION


class Server(Section):
    """Addresses and life cycle."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for trainers on other machines."""
    http_port: int = Field(8080, ge=0, le=65535)
    """HTTP port; 0 takes a free one and prints it."""
    grpc_port: int = Field(50051, ge=0, le=65535)
    """gRPC port; 0 takes a free one and prints it."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that share the ports; see [processes] for their models."""
    grace_s: float = Field(20.0, gt=0)
    """Seconds that requests in flight get after SIGTERM."""
    backlog: int = Field(4096, ge=16)
    """Connections that may wait to be accepted."""
    device: Device = "auto"
    """Where models compute whose entry does not say: `auto`, `cpu`, `cuda` (the GPU with the most
    free memory) or `cuda:N`. `auto` is a GPU for the families that gain by one, where one has room,
    and the CPU else."""
    require_card: bool = False
    """Refuse to start with a model that has no card of its own (`soft-verifier card`), or one of
    data that it was trained on, unless its entry says `allow_uncarded`."""


class Model(Section):
    """One world model to serve: a checkpoint folder, or a family with options."""

    path: Path | None = None
    """Folder of a trained model."""
    family: str | None = None
    """Family of a model without a folder (`fake`, `remote`)."""
    name: str | None = None
    """Name to serve it under; the folder's own by default."""
    device: Device | None = None
    """`auto`, `cpu`, `cuda` or `cuda:N`; `server.device` by default."""
    memory_mb: Annotated[int, Field(ge=1)] | None = None
    """Most memory (MiB) that it may take on a GPU, or it is refused; by default what is free."""
    run: Literal["auto", "inline", "thread"] = "auto"
    """Where it computes: in the event loop, on its own thread, or by the cost measured."""
    allow_uncarded: bool = False
    """Serve it without a card even where `server.require_card` is set."""
    options: dict[str, str] = {}
    """Options of the family, e.g. {url = "grpc://gpu-1:50051", model = "screen"}."""


class Starter(Section):
    """The small real model that a fresh server starts with."""

    enabled: bool = True
    """Serve it beside the configured models."""
    path: Path = Path("models/starter")
    """Where it is kept; built here on first start (about 20 seconds, no download)."""


class Genes(Section):
    """How gene names are resolved."""

    tables: list[Path] = []
    """HGNC complete set, HGNC symbol map or NCBI gene_info files; none: symbols as they are."""


class Batching(Section):
    """Queues of the models that compute on their own thread."""

    max_batch: int = Field(1024, ge=1)
    """Queries in one call of a model."""
    max_queue: int = Field(65_536, ge=1)
    """Queries waiting for one model; beyond: 429."""
    inline_below_ms: float = Field(1.0, ge=0)
    """A model whose batch of 256 takes less than this is run in the event loop."""
    stall_s: float = Field(60.0, gt=0)
    """A batch that runs longer makes /healthz answer 503."""


class Cache(Section):
    """Where verdicts are kept. Errors and abstentions never are."""

    memory_entries: int = Field(200_000, ge=0)
    """Verdicts kept in this process (about 0.5 kB each); 0 switches the tier off."""
    redis_url: str | None = Field(None, repr=False)
    """redis://, rediss://, unix://, redis+cluster:// or redis+sentinel://h1:p,h2:p/service."""
    redis_mode: Literal["auto", "always"] = "auto"
    """auto: only for models that cost more than the Redis trip, both measured at warm-up."""
    ttl_s: int = Field(7 * 24 * 3600, ge=1)
    """Seconds that a verdict stays in Redis."""
    timeout_ms: int = Field(100, ge=1)
    """Longest wait for Redis before going on without it."""
    breaker_failures: int = Field(3, ge=1)
    """Failures in a row that open the breaker."""
    breaker_s: float = Field(5.0, gt=0)
    """Seconds that an open breaker waits before it tries Redis again."""


class Knowledge(Section):
    """One ontology that profiles look up, under the name that they use (`go`, `cl`, `mondo`)."""

    ontology: Path
    """OBO file, or a table of terms and parents."""
    annotations: list[Path] = []
    """What genes are annotated with: GAF files, tables of gene and term, or JSON."""
    relations: list[str] = ["is_a", "part_of"]
    """What makes a term's parent."""


def _processes() -> int:
    """Two where there are two cores: work is rare beside the rest."""
    return min(2, os.cpu_count() or 1)


class Work(Section):
    """Computations whose length a completion decides (molecules, long texts), in own processes."""

    processes: int = Field(default_factory=_processes, ge=1, le=64)
    """Processes for quick computations, and as many for slow ones; of each worker."""
    budget_ms: int = Field(200, ge=10, le=60_000)
    """CPU time of one computation; beyond, its completion is TOO_LONG. With what ending a process
    costs, 200 keeps such an item below 250 ms on a machine that has a core for it. What takes more
    than a tenth is begun anew, where it is in nobody's way, with the rest."""
    memory_mb: int = Field(1024, ge=64)
    """Memory that one computation may take; beyond, its completion is TOO_LONG."""
    max_queue: int = Field(65_536, ge=1)
    """Computations that wait; beyond: 429."""
    cache_mb: int = Field(32, ge=0)
    """What came of computations is kept up to this; 0 keeps nothing."""
    warm: bool = True
    """Start the processes with the server, where a profile needs them, not with the first item."""


class Profiles(Section):
    """Reward recipes."""

    folder: Path | None = None
    """Folder with your own *.toml profiles, beside the shipped ones."""
    models: dict[str, str] = {}
    """Profile name → served model, where several models would fit: {"rbio-mlp" = "k562-mlp"}."""


class Settings(BaseSettings):
    """All sections."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )
    file: ClassVar[dict[str, Any]] = {}

    server: Server = Server()  # type: ignore[call-arg]
    security: Security = Security()
    limits: Limits = Limits()  # type: ignore[call-arg]
    connections: Connections = Connections()  # type: ignore[call-arg]
    models: list[Model] = []
    starter: Starter = Starter()
    genes: Genes = Genes()
    batching: Batching = Batching()  # type: ignore[call-arg]
    cache: Cache = Cache()  # type: ignore[call-arg]
    knowledge: dict[str, Knowledge] = {}
    work: Work = Work()  # type: ignore[call-arg]
    profiles: Profiles = Profiles()
    telemetry: Telemetry = Telemetry()  # type: ignore[call-arg]
    audit: Audit = Audit()  # type: ignore[call-arg]
    canaries: Canaries = Canaries()  # type: ignore[call-arg]
    processes: Processes = Processes()  # type: ignore[call-arg]
    rolling: Rolling = Rolling()  # type: ignore[call-arg]
    admin: Admin = Admin()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes over the file, which arrives as init values."""
        return env_settings, init_settings


def load(file: Path | None = None, overrides: dict[str, dict[str, Any]] | None = None) -> Settings:
    """Read the settings: defaults, then the file, then the environment, then ``overrides``.

    Args:
        file: a TOML file; None reads ``soft-verifier.toml`` if there is one.
        overrides: command-line options by section.

    Raises:
        StartupFault: no such file, not TOML, unknown key (names the nearest), wrong value.
    """
    values = _read_file(file)
    _refuse_unknown_variables()
    try:
        settings = Settings(**values)
        if overrides:
            merged = settings.model_dump()
            for section, keys in overrides.items():
                merged[section] = {**merged[section], **keys}
            settings = Settings.model_construct(**_validated(merged))
    except ValidationError as error:
        raise StartupFault(_explain(error, file)) from error
    except SettingsError as error:
        raise StartupFault(
            f"settings ({PREFIX}* variables): {error}; lists and tables are given as JSON"
        ) from None
    return settings


def with_models(settings: Settings, folders: Sequence[Path]) -> Settings:
    """The settings with more trained folders; one that they list already is not listed twice."""
    listed = {entry.path.resolve() for entry in settings.models if entry.path}
    if settings.starter.enabled:
        listed.add(settings.starter.path.resolve())
    added = []
    for folder in folders:
        if folder.resolve() not in listed:
            listed.add(folder.resolve())
            added.append(Model(path=folder))
    return settings.model_copy(update={"models": [*settings.models, *added]})


def _validated(values: dict[str, Any]) -> dict[str, Any]:
    """Validate without looking at the environment again (overrides go over it)."""
    kinds: dict[str, Any] = {name: made.annotation for name, made in Settings.model_fields.items()}
    return {name: TypeAdapter(kind).validate_python(values[name]) for name, kind in kinds.items()}


def _read_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        if not DEFAULT_FILE.exists():
            return {}
        file = DEFAULT_FILE
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StartupFault(f"settings file {file} does not exist; check --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise StartupFault(f"settings file {file} cannot be read: {error}") from None


def _refuse_unknown_variables() -> None:
    sections = Settings.model_fields
    for variable in os.environ:
        if not variable.upper().startswith(PREFIX) or variable in OTHER_VARIABLES:
            continue
        section = variable[len(PREFIX) :].partition("__")[0].lower()
        if section not in sections:
            raise StartupFault(
                f"environment variable {variable}: there is no section {section!r}"
                f"{nearest(section, sections)}. The form is {PREFIX}SECTION__KEY"
            )


def _explain(error: ValidationError, file: Path | None) -> str:
    """Each fault with its key, and the nearest key where it is unknown."""
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key{nearest(str(fault['loc'][-1]), _siblings(fault))}")
        else:
            device = "pattern" in fault["type"]  # no other key has one
            said = "expected auto, cpu, cuda or cuda:N" if device else fault["msg"]
            shown = repr(fault["input"])  # a URL may hold a password
            found = "" if "url" in key or "://" in shown else f" (found {shown})"
            lines.append(f"{key}: {said}{found}")
    return f"settings (file {file or DEFAULT_FILE} and {PREFIX}* variables): " + "; ".join(lines)


def _siblings(fault: Any) -> list[str]:
    """The keys that are known where an unknown one stood."""
    parts = [part for part in fault["loc"][:-1] if not isinstance(part, int)]
    if not parts:
        return list(Settings.model_fields)
    annotation = Settings.model_fields[parts[0]].annotation
    entries: dict[str, type[Section]] = {"models": Model, "knowledge": Knowledge}
    section = entries.get(parts[0], annotation)
    assert isinstance(section, type)
    assert issubclass(section, BaseModel)
    return list(section.model_fields)
