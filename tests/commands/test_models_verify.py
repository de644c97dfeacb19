"""``soft-verifier models verify``: whole folders pass, damaged and wrong ones do not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny_models


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A trained folder and its digest."""
    checkpoint = tiny_models.pair_mlp(tmp_path_factory.mktemp("model"))
    return checkpoint.path, checkpoint.digest


@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    """One to be damaged."""
    return tiny_models.pair_mlp(tmp_path).path


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", "models", "verify", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def test_a_whole_folder_is_named_with_its_digest(model: tuple[Path, str]) -> None:
    path, digest = model
    for argument, pin in ((str(path), "no pin"), (f"{path}@{digest}", "as pinned")):
        done = run(argument)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{path}: tiny (pair-mlp) {digest}, whole, {pin}\n"


def flip(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def shorten(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])


def lose(folder: Path) -> None:
    next(folder.glob("*.safetensors")).unlink()


def lose_manifest(folder: Path) -> None:
    (folder / "manifest.toml").unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(flip, "truncated or altered", id="a bit flipped"),
        pytest.param(shorten, "truncated or altered", id="a byte short"),
        pytest.param(lose, "missing, though the manifest lists it", id="a file lost"),
        pytest.param(lose_manifest, "no checkpoint at", id="no manifest"),
    ],
)
def test_a_damaged_folder_is_refused_and_the_others_are_still_checked(
    own_model: Path, model: tuple[Path, str], damage: Callable[[Path], None], says: str
) -> None:
    damage(own_model)
    done = run(own_model, model[0])
    assert done.returncode == 3
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert f"{model[0]}: tiny" in done.stdout


def test_a_whole_folder_with_another_digest_is_refused(model: tuple[Path, str]) -> None:
    done = run(f"{model[0]}@sha256:{'0' * 64}")
    assert done.returncode == 3
    assert "copy the model that was meant" in done.stderr


def test_the_folders_of_the_settings_with_pins(model: tuple[Path, str], tmp_path: Path) -> None:
    path, digest = model
    config = tmp_path / "sv.toml"
    config.write_text(f'[starter]\nenabled = false\n[[models]]\npath = "{path}"\n')
    pins = tmp_path / "pins"
    for text, code, says in (
        (f"# ours\n\n{path}@{digest}\n", 0, "as pinned"),
        ("# none yet\n", 0, "no pin"),
        (f"{path}@sha256:{'1' * 64}\n", 3, "pinned is sha256:111"),
        (f"{tmp_path}/other@{digest}\n", 2, "is none of the folders to verify"),
        (f"{path}\n", 2, "has no digest"),
        (f"{path}@sha256:12\n", 2, "64 hex digits"),
        (f"{path}@{digest}\n{path}@sha256:{'2' * 64}\n", 2, "two digests"),
    ):
        pins.write_text(text)
        done = run("--config", config, "--pins", pins)
        assert done.returncode == code, done.stderr
        assert says in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param((), "nothing to verify", id="nothing"),
        pytest.param(("--config", "none.toml"), "does not exist", id="no settings"),
        pytest.param(("--pins", "none"), "cannot be read", id="no pins"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
