"""The classes that adapters mix into a trainer's, with stand-ins for the trainer's half.

The stand-ins have the names, places and signatures of the trainers' sources and nothing of their
behaviour; the trainers themselves are not installed here.
"""

from __future__ import annotations

import abc
import asyncio
import gc
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pydantic
import pytest

from fault_proxy import FaultProxy
from softverifier.cli import main
from trainer_calls import NO, YES, Sample, gym_row

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """``install("a.b", name=value)``: a module of a package that is not here."""

    def put(path: str, **contents: Any) -> None:
        parts = path.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name not in sys.modules:
                made = ModuleType(name)
                made.__path__ = []
                monkeypatch.setitem(sys.modules, name, made)
        vars(sys.modules[path]).update(contents)

    return put


def test_swift_loads_the_plugin_by_its_path(
    adapters: FaultProxy,
    install: Install,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class AsyncORM:
        def __init__(self, args: Any = None, **kwargs: Any) -> None:
            self.args = args

    orms: dict[str, Any] = {}
    install("swift.rewards", AsyncORM=AsyncORM, orms=orms)
    main(["path", "swift"])
    file = Path(capsys.readouterr().out.strip())
    monkeypatch.syspath_prepend(str(file.parent))  # as swift's own loader does
    importlib.import_module(file.stem)
    made = orms["soft_verifier"](args=SimpleNamespace())
    assert isinstance(made, AsyncORM)
    assert asyncio.iscoroutinefunction(made.__call__)
    (found,) = asyncio.run(made([YES], task=[Sample().task]))
    assert found > 0.5
    monkeypatch.delitem(sys.modules, file.stem)
    assert not {one.stem for one in file.parent.glob("*.py")} & set(sys.stdlib_module_names)


def test_skyrl_makes_the_environment(adapters: FaultProxy, install: Install) -> None:
    class BaseTextEnv:
        def __init__(self) -> None:
            self.turns = 0
            self.max_turns = 1

        def init(self, prompt: Any) -> Any:
            raise AssertionError

        def step(self, action: str) -> Any:
            raise AssertionError

        def close(self) -> None:
            raise AssertionError

    install("skyrl_gym.envs.base_text_env", BaseTextEnv=BaseTextEnv)
    module, _, name = "softverifier.trainers.skyrl:SoftVerifierEnv".partition(":")
    made = getattr(importlib.import_module(module), name)(
        env_config={}, extras={"reward_spec": {"ground_truth": Sample().label}}
    )
    assert isinstance(made, BaseTextEnv)
    assert made.turns == 0
    prompt = [{"role": "user", "content": "?"}]
    assert made.init(prompt) == (prompt, {})
    found = made.step(YES)
    assert found["reward"] > 0.5
    assert made.get_metrics()["sv_valid"] == 1.0
    made.close()
    del vars(importlib.import_module(module))[name]


def test_nemo_rl_steps(adapters: FaultProxy, install: Install) -> None:
    torch = pytest.importorskip("torch")

    class EnvironmentReturn(NamedTuple):
        observations: list[dict[str, str]]
        metadata: list[Any]
        next_stop_strings: list[Any]
        rewards: Any
        terminateds: Any
        answers: list[str | None] | None = None

    install("nemo_rl.environments.interfaces", EnvironmentReturn=EnvironmentReturn)
    from softverifier.trainers.nemo_rl import Environment

    logs = [
        [{"role": "user", "content": "?"}, {"role": "assistant", "content": text}]
        for text in (YES, "", YES)
    ]
    rows = [{"ground_truth": Sample(gene=gene).label} for gene in ("CALR", "CALR", "NOTAGENE")]
    made = Environment({"num_workers": 1, "profile": "soft"})
    found = made.step(logs, rows)
    first, floor, mean = found.rewards.tolist()
    assert floor == 0.0
    assert mean == pytest.approx(first / 2, abs=1e-6)
    assert torch.isfinite(found.rewards).all()
    assert found.terminateds.tolist() == [1.0] * 3
    assert found.answers == ["yes", None, "yes"]
    assert len(found.observations) == len(found.metadata) == len(found.next_stop_strings) == 3
    _, metrics = made.global_post_process_and_metrics({})
    assert (
        metrics["sv_ok"] == metrics["sv_invalid"] == metrics["sv_abstain"] == pytest.approx(1 / 3)
    )


def test_nemo_rl_is_told_where_the_environment_is_and_what_runs_it(install: Install) -> None:
    environments: dict[str, str] = {}
    pythons: dict[str, str] = {}
    install("nemo_rl.environments.utils", register_env=environments.__setitem__)
    install("nemo_rl.distributed.virtual_cluster", PY_EXECUTABLES=SimpleNamespace(SYSTEM="python"))
    install(
        "nemo_rl.distributed.ray_actor_environment_registry", ACTOR_ENVIRONMENT_REGISTRY=pythons
    )
    from softverifier.trainers import nemo_rl

    nemo_rl.register()
    path = "softverifier.trainers.nemo_rl.SoftVerifierEnvironment"
    assert environments == {"soft_verifier": path}
    assert pythons == {path: "python"}


def test_open_instruct_finds_the_verifier_among_subclasses(
    adapters: FaultProxy, install: Install
) -> None:
    class VerificationResult(NamedTuple):
        score: float
        cost: float = 0.0
        reasoning: str | None = None

    class VerifierFunction(abc.ABC):
        def __init__(self, name: str, weight: float = 1.0, verifier_config: Any = None) -> None:
            self.name = name
            self.weight = weight

        @abc.abstractmethod
        def __call__(self, *args: Any) -> Any: ...

    install(
        "open_instruct.ground_truth_utils",
        VerificationResult=VerificationResult,
        VerifierFunction=VerifierFunction,
    )
    from softverifier.trainers.open_instruct import register

    register()
    gc.collect()
    (kind,) = VerifierFunction.__subclasses__()
    made: Any = kind(None)  # type: ignore[call-arg,arg-type]
    assert made.name == "soft_verifier"
    blocking = made([1, 2], YES, Sample().label, "?")
    awaited = asyncio.run(made.async_call([1, 2], YES, Sample().label, None, rollout_state={}))
    assert blocking == awaited
    assert blocking.score > 0.5
    assert "sv_perturbation_de" in blocking.reasoning


def test_roll_computes_rewards(adapters: FaultProxy, install: Install) -> None:
    torch = pytest.importorskip("torch")

    class Worker:
        def __init__(self, worker_config: Any) -> None:
            self.worker_config = worker_config
            self.rank_info = SimpleNamespace(rank=0, world_size=1)

    texts = [YES + "<|im_end|><pad>", NO + "<|im_end|>", YES]
    tokenizer = SimpleNamespace(batch_decode=lambda ids, skip_special_tokens: texts)
    install("roll.distributed.executor.worker", Worker=Worker)
    install(
        "roll.distributed.scheduler.decorator",
        Dispatch=SimpleNamespace(ONE_TO_ALL=1, DP_MP_COMPUTE=2),
        register=lambda dispatch_mode, clear_cache=True: lambda function: function,
    )
    install(
        "roll.distributed.scheduler.protocol",
        DataProto=SimpleNamespace(from_dict=lambda tensors: tensors),
    )
    install("roll.models.model_providers", default_tokenizer_provider=lambda model_args: tokenizer)
    from softverifier.trainers import roll

    made = roll.SoftVerifierRewardWorker(SimpleNamespace(model_args=None))
    rows = {"prompt": ["?"] * 3, "ground_truth": [Sample().label] * 3, "tag": ["a"] * 3}
    data = SimpleNamespace(
        batch={"responses": torch.ones((3, 5), dtype=torch.long)}, non_tensor_batch=rows
    )
    found = made.compute_rewards(data)
    yes, no, again = found["response_level_rewards"].tolist()
    assert yes == again > 0.5 > no
    assert found["token_level_rewards"].shape == (3, 5)
    assert not found["token_level_rewards"].any()
    assert found["sv_perturbation_de"].dtype == torch.float32
    del vars(roll)["SoftVerifierRewardWorker"]


def test_gyms_resources_server_hands_rollouts_on(
    adapters: FaultProxy, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    class BaseVerifyRequest(pydantic.BaseModel):
        responses_create_params: dict[str, Any]
        response: dict[str, Any]

    class BaseVerifyResponse(BaseVerifyRequest):
        reward: float
        mask_sample: bool = False
        failure_kind: str | None = None
        failure_reason: str | None = None

    class SimpleResourcesServer(pydantic.BaseModel):
        config: Any = None

    class Config(pydantic.BaseModel):
        host: str = "127.0.0.1"

    install(
        "nemo_gym.base_resources_server",
        BaseResourcesServerConfig=Config,
        BaseVerifyRequest=BaseVerifyRequest,
        BaseVerifyResponse=BaseVerifyResponse,
        SimpleResourcesServer=SimpleResourcesServer,
    )
    main(["path", "nemo_gym"])
    folder = Path(capsys.readouterr().out.strip())
    spec = importlib.util.spec_from_file_location("gym_app", folder / "app.py")
    assert spec is not None
    assert spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    server = app.SoftVerifierResourcesServer(config=Config())
    masked = Sample(gene="NOTAGENE")
    found = [
        asyncio.run(server.verify(app.VerifyRequest.model_validate(gym_row(one)))).model_dump()
        for one in (Sample(), masked)
    ]
    assert [one["mask_sample"] for one in found] == [False, True]
    assert found[0]["reward"] > 0.5
    assert found[1]["reward"] == 0.375  # the profile's neutral number
    assert found[1]["failure_reason"].startswith("UNKNOWN_GENE")
    assert found[1]["uuid"] == "row-1"
    configuration = (folder / "configs" / "soft_verifier.yaml").read_text()
    assert "entrypoint: app.py" in configuration
    assert "domain: " in configuration


def test_files_that_are_loaded_by_path_load(adapters: FaultProxy) -> None:
    """By themselves, in a process that does not know the package's folder by another name."""
    for name, function in (("openrlhf", "reward_func"), ("easyr1", "compute_score")):
        code = f"""
import importlib.util, subprocess, sys
spec = importlib.util.spec_from_file_location("reward_func", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert callable(module.{function})
"""
        import softverifier

        file = Path(softverifier.__file__).parent / "trainers" / f"{name}.py"
        subprocess.run([sys.executable, "-c", code, str(file)], check=True, timeout=60)
