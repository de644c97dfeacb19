"""The source does nothing by which a file from elsewhere could run code here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
PACKAGES = ("service", "worldmodels", "client/softverifier")
FORBIDDEN_MODULES = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle",
}  # fmt: skip
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__",
    "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle",
    "pandas.read_pickle", "torch.jit.load", "torch.hub.load", "ssl._create_unverified_context",
}  # fmt: skip
SAFE_ONLY_WITH = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False),
                  "numpy.load": ("allow_pickle", False)}  # fmt: skip


def faults(source: str) -> Iterator[str]:
    """What is forbidden in a module's source, with its line."""
    tree = ast.parse(source)
    harmless = _only_names_its_error(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in named or [alias.name for alias in node.names]:
                if name.partition(".")[0] in FORBIDDEN_MODULES - (
                    {"pickle"} if harmless else set()
                ):
                    yield f"{node.lineno}: imports {name}"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in FORBIDDEN_CALLS:
                yield f"{node.lineno}: calls {called}"
            if called in SAFE_ONLY_WITH and not _safely(node, *SAFE_ONLY_WITH[called]):
                yield f"{node.lineno}: calls {called} as it is unsafe"
            for word in node.keywords:
                if word.arg in ("allow_pickle", "shell") and not _is(word.value, False):
                    yield f"{node.lineno}: {word.arg} is not False"


def _only_names_its_error(tree: ast.Module) -> bool:
    """Whether all that is used of pickle is the error that weights_only raises."""
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle"
    }
    return used == {"UnpicklingError"}


def _safely(call: ast.Call, argument: str, value: bool) -> bool:
    if argument == "allow_pickle" and all(word.arg != argument for word in call.keywords):
        return True  # numpy's own default refuses
    return any(word.arg == argument and _is(word.value, value) for word in call.keywords)


def _is(node: ast.expr, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_that_runs_foreign_code(package: str) -> None:
    modules = list((REPOSITORY / package).rglob("*.py"))
    assert len(modules) > 20
    found = [
        f"{module.relative_to(REPOSITORY)}:{fault}"
        for module in modules
        for fault in faults(module.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "import pickle\nx = pickle.loads(y), pickle.UnpicklingError",
        "from pickle import loads", "from joblib import load", "import dill.settings", "eval('1')",
        "torch.load(f)", "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)",
        "torch.load(f, weights_only=maybe)", "yaml.load(f)", "subprocess.run(c, shell=True)",
        "arrays.read(f, allow_pickle=True)", "pd.read_pickle(f)", "os.system('ls')",
    ],
)  # fmt: skip
def test_the_search_finds(line: str) -> None:
    assert list(faults(line))


@pytest.mark.parametrize(
    "line",
    ["torch.load(f, weights_only=True)", "import pickle\nx = pickle.UnpicklingError",
     "np.load(f)", "np.load(f, allow_pickle=False)",
     "re.compile('x')", "yaml.safe_load(f)", "model.eval()", "subprocess.run(c)"],
)  # fmt: skip
def test_the_search_lets_pass(line: str) -> None:
    assert not list(faults(line))
