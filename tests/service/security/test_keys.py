from __future__ import annotations

import datetime
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.errors import ServiceError, StartupFault, Unauthenticated
from service.security import key_file
from service.security.credentials import presented, taken_out
from service.security.keys import Keyring, mint, scopes_of

NOW = datetime.datetime.now(datetime.UTC)


def test_a_key_is_known_again_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    spelt, key = mint("a", ["score"], quota=5, rate=2.5, expires=NOW + datetime.timedelta(1))
    path = tmp_path / "keys.toml"
    key_file.add(path, key)
    found = key_file.ring(path).verified(spelt.encode())
    assert (found.name, found.scopes, found.quota, found.rate) == ("a", {"score"}, 5, 2.5)
    secret = spelt.rpartition("_")[2]
    assert len(spelt) == 4 + 12 + 1 + 43
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_same_key_has_another_digest_under_another_salt() -> None:
    first, second = mint("a", ["score"])[1], mint("a", ["score"])[1]
    assert first.salt != second.salt
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda key: key[:-1] + bytes([key[-1] ^ 1]), "not known", id="last bit"),
        pytest.param(lambda key: key + b"A", "not known", id="longer"),
        pytest.param(lambda key: key[:-1], "not known", id="shorter"),
        pytest.param(lambda key: key[:17], "not known", id="id alone"),
        pytest.param(lambda key: b"sv1_" + b"0" * 12 + key[16:], "not known", id="another id"),
        pytest.param(lambda _: b"sv1_", "not known", id="prefix alone"),
        pytest.param(lambda _: b"", "no API key", id="empty"),
        pytest.param(lambda key: key * 9, "no API key", id="huge"),
        pytest.param(lambda _: b"sv1_\xff\x00\xfe", "not known", id="bytes"),
        pytest.param(lambda key: key.upper(), "no API key", id="upper case"),
    ],
)
def test_what_is_no_key_is_refused(change, said: str) -> None:  # type: ignore[no-untyped-def]
    spelt, key = mint("a", ["score"])
    with pytest.raises(Unauthenticated, match=said):
        Keyring([key]).verified(change(spelt.encode()))


def test_an_expired_key_says_so_and_an_empty_ring_knows_nobody() -> None:
    spelt, key = mint("old", ["score"], expires=NOW - datetime.timedelta(seconds=1))
    with pytest.raises(Unauthenticated, match="'old' has expired"):
        Keyring([key]).verified(spelt.encode())
    with pytest.raises(Unauthenticated, match="not known"):
        Keyring([]).verified(spelt.encode())


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"Bearer sv1_x", b"sv1_x"),
        (b"bearer  sv1_x ", b"sv1_x"),
        (b"Basic c3YxX3g6", b"sv1_x"),
        (b"BASIC YW55b25lOnN2MV94", b"sv1_x"),
        (b"Basic c3YxX3g6aWdub3JlZA==", b"sv1_x"),
    ],
    ids=["bearer", "case and spaces", "user", "password", "user before password"],
)
def test_headers_that_carry_a_key(header: bytes, found: bytes) -> None:
    assert presented(header) == found


@pytest.mark.parametrize("header", [b"Digest x", b"sv1_x", b"Basic \xff", b"Basic a", b" "])
def test_headers_that_carry_none(header: bytes) -> None:
    with pytest.raises(Unauthenticated, match="authorization"):
        presented(header)


@pytest.mark.parametrize(
    ("query", "left", "key"),
    [
        (b"", b"", None),
        (b"key=K", b"", b"K"),
        (b"profile=a+b&key=K&run=1", b"profile=a+b&run=1", b"K"),
        (b"monkey=K", b"monkey=K", None),
        (b"key=%73v1", b"", b"sv1"),
        (b"key=", b"", b""),
    ],
)
def test_a_key_is_taken_out_of_the_url(query: bytes, left: bytes, key: bytes | None) -> None:
    assert taken_out(query) == (left, key)


def test_two_keys_in_a_url_are_refused() -> None:
    with pytest.raises(Unauthenticated, match="several"):
        taken_out(b"key=a&key=b")


GOOD = """
[keys.a]
id = "0123456789ab"
scopes = ["score"]
salt = "AAAAAAAAAAAAAAAAAAAAAA=="
digest = "sha256:{}"
created = 2026-01-01T00:00:00Z
""".format("0" * 64)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("nonsense", "cannot be read", id="not TOML"),
        pytest.param("[other]", r"tables \[keys.NAME\]", id="another table"),
        pytest.param("keys = 1", r"tables \[keys.NAME\]", id="no table"),
        pytest.param("[keys]\na = 1", "expected a table", id="a number"),
        pytest.param(GOOD.replace('"score"', '"root"'), "scopes: expected some of", id="scope"),
        pytest.param(GOOD.replace('["score"]', "[]"), "scopes: expected some of", id="no scope"),
        pytest.param(GOOD.replace("sha256:0", "sha256:"), "digest is missing", id="digest"),
        pytest.param(GOOD.replace("AA==", "A="), "salt is missing", id="salt"),
        pytest.param(GOOD + "quota = 0", "quota: expected items a day", id="quota"),
        pytest.param(GOOD + "quota = true", "quota: expected items a day", id="quota bool"),
        pytest.param(GOOD + "rate = nan", "rate: expected items a second", id="rate"),
        pytest.param(GOOD + "expires = 2026-01-01", "expires: expected a moment", id="no zone"),
        pytest.param(GOOD + "qouta = 1", "unknown field 'qouta'", id="unknown field"),
        pytest.param(GOOD + GOOD.replace("keys.a", "keys.b"), "two keys have one id", id="twice"),
    ],
)
def test_a_damaged_file_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(StartupFault, match=said):
        key_file.read(path)


def test_no_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StartupFault, match="soft-verifier keys create NAME"):
        key_file.read(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["", "a b", "../x", "a\n[keys.b]", "ü", "x" * 65])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartupFault, match="cannot name a key"):
        key_file.add(tmp_path / "keys.toml", mint(name, ["score"])[1])


def test_writers_at_the_same_time_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    writers = [
        threading.Thread(target=key_file.add, args=(path, mint(f"k{i}", ["score"])[1]))
        for i in range(16)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert {key.name for key in key_file.read(path)} == {f"k{i}" for i in range(16)}


def test_scopes_are_named_when_they_are_wrong() -> None:
    assert scopes_of("predict, score") == ["score", "predict"]
    with pytest.raises(ServiceError, match="did you mean 'score'"):
        scopes_of("scores")
    with pytest.raises(ServiceError, match="no scope"):
        scopes_of(" , ")


def test_the_commands_make_list_and_revoke(tmp_path: Path) -> None:
    def keys(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "service", "keys", *words, "--file", "keys.toml"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    options = ["--scope", "score,predict", "--quota", "1000/day", "--rate", "5/s"]
    made = keys("create", "team", *options, "--expires", "90d")
    assert made.returncode == 0, made.stderr
    spelt = made.stdout.strip()
    assert spelt.startswith("sv1_")
    assert spelt not in made.stderr
    (key,) = key_file.read(tmp_path / "keys.toml")
    assert Keyring([key]).verified(spelt.encode()) is key
    assert (key.quota, key.rate, key.scopes) == (1000, 5.0, {"score", "predict"})
    assert key.expires is not None
    assert 89 <= (key.expires - NOW).days <= 90
    listed = keys("list").stdout
    assert "team" in listed
    assert spelt not in listed
    again = keys("create", "team", "--scope", "score")
    assert (again.returncode, "has a key 'team'" in again.stderr) == (2, True)
    assert keys("revoke", "team").returncode == 0
    gone = keys("revoke", "team")
    assert (gone.returncode, "has no key 'team'; it has: none" in gone.stderr) == (2, True)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--quota", "0"), ("--quota", "5/week"), ("--rate", "-1"), ("--rate", "inf"),
     ("--rate", "e"), ("--expires", "soon"), ("--expires", "2020-01-01"), ("--expires", "0d")],
)  # fmt: skip
def test_limits_that_are_none(tmp_path: Path, option: str, value: str) -> None:
    from service.commands import keys

    options = {option.removeprefix("--"): value}
    with pytest.raises(StartupFault, match=option):
        keys.create("a", "score", **options, file=tmp_path / "keys.toml")
    assert not (tmp_path / "keys.toml").exists()
