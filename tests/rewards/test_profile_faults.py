"""Profiles that must not load, and what the message says: file, line, key, nearest, what to do."""

# ruff: noqa: E501 - a table reads best in rows

from __future__ import annotations

import pytest

from service.rewards.profiles import ProfileFault, load_profiles

TOP = 'tasks = ["perturbation.de"]\n'
SOFT = '[[component]]\nname = "de"\nverifier = "perturbation"\nmodel = "m"\n'
FORMAT = '[[component]]\nname = "f"\nverifier = "format"\nrole = "auxiliary"\n'
LEXI = '[compose]\noperator = "lexi_sum"\n'

FAULTS = {
    "not TOML": ("tasks = [", "mine.toml: not TOML"),
    "unknown key": (TOP + SOFT + 'modle = "m"\n', "mine.toml:6: [component 'de'] unknown key 'modle'; did you mean 'model'?"),
    "unknown table": (TOP + "[extrakt]\n" + SOFT, "unknown key 'extrakt'; did you mean 'extract'?"),
    "unknown key of a table": (TOP + "[extract]\nmaxchars = 1\n" + SOFT, "mine.toml:3: [extract] unknown key 'maxchars'; did you mean 'max_chars'?"),
    "wrong type": (TOP + '[extract]\nmax_chars = "many"\n' + SOFT, "mine.toml:3: [extract] max_chars: Expected `int`, got `str`"),
    "out of range": (TOP + "[compose]\nfloor = 1\n" + SOFT, "mine.toml:3: [compose] floor:"),
    "unknown operator": (TOP + '[compose]\noperator = "max"\n' + SOFT, "operator: Invalid enum value 'max'"),
    "unknown task": ('tasks = ["perturbation.dee"]\n' + SOFT, "mine.toml:1: tasks: unknown 'perturbation.dee'; did you mean 'perturbation.de'?"),
    "task twice": ('tasks = ["label", "label"]\n', "named twice"),
    "tasks as text": ('tasks = "label"\n', "tasks: expected a list"),
    "unknown verifier": (TOP + '[[component]]\nname = "a"\nverifier = "perturb"\n', "did you mean 'perturbation'?"),
    "no verifier": (TOP + '[[component]]\nname = "a"\n', "verifier: missing"),
    "no name": (TOP + '[[component]]\nverifier = "format"\n', "name"),
    "no model": (TOP + '[[component]]\nname = "a"\nverifier = "perturbation"\n', "model"),
    "component as a table": (TOP + "[component]\n", "write each component as a [[component]] table"),
    "name twice": (TOP + SOFT + SOFT, "mine.toml:7: [component 'de'] name: 'de' is used twice"),
    "nothing earns": (TOP + FORMAT, "needs a primary component"),
    "weight 0": (TOP + SOFT + "weight = 0\n", 'use role = "report"'),
    "negative weight": (TOP + SOFT + "weight = -1\n", "mine.toml:6: [component 'de'] weight:"),
    "task a verifier cannot judge": ('tasks = ["label"]\n' + SOFT, "does not judge label tasks"),
    "no task where one is needed": (SOFT, "tasks: perturbation needs a task"),
    "relation of another task": (TOP + SOFT + 'relation = "perturbation.dir"\n', "cannot be asked as 'perturbation.dir'"),
    "unknown relation": (TOP + SOFT + 'relation = "gene.coexpresion"\n', "did you mean 'gene.coexpression'?"),
    "direction of co-expression": ('tasks = ["perturbation.dir"]\n' + SOFT + 'relation = "gene.coexpression"\n', "cannot be asked as 'gene.coexpression'"),
    "pair with another relation": ('tasks = ["gene.similarity"]\n[[component]]\nname = "a"\nverifier = "pair"\nmodel = "m"\nrelation = "gene.interaction"\n', "leave relation out"),
    "soft truth": (TOP + SOFT + 'evidence = ["truth", "model"]\n', 'only score = "hard" may believe the truth'),
    "evidence twice": (TOP + SOFT + 'score = "hard"\nevidence = ["model", "model"]\n', "each once"),
    "verdict as a gate": (TOP + SOFT + FORMAT + SOFT.replace('"de"', '"g"') + 'role = "gate"\nat_least = 0.5\n', "cannot be a gate"),
    "gate without a threshold": (TOP + SOFT + FORMAT.replace("auxiliary", "gate"), "a gate needs at_least"),
    "threshold without a gate": (TOP + SOFT + "at_least = 0.5\n", "a gate needs at_least"),
    "weights under min": (TOP + '[compose]\noperator = "min"\n' + SOFT + "weight = 2\n", "takes no weights"),
    "missing under first_ok": (TOP + '[compose]\noperator = "first_ok"\n' + SOFT + 'on_missing = "drop"\n', 'leave it "null"'),
    "range not earned": (TOP + "[compose]\nrange = [0, 4]\n" + SOFT, "earns from 0 (the floor) to 1, not 0 to 4"),
    "range without the floor": (TOP + "[compose]\nfloor = -1\nrange = [0, 1]\n" + SOFT, "earns from -1 (the floor) to 1"),
    "lexi_sum of a soft primary": (TOP + LEXI + SOFT + FORMAT + "weight = 0.1\n", "set min_gap"),
    "lexi_sum with heavy style": (TOP + LEXI + SOFT + "min_gap = 0.2\n" + FORMAT + "weight = 0.2\n", "the auxiliary weights sum to 0.2, not less than 0.2"),
    "lexi_sum, hard, heavy style": (TOP + LEXI + SOFT + 'score = "hard"\n' + FORMAT, "sum to 1, not less than 1"),
    "lexi_sum of two primaries": (TOP + LEXI + SOFT + SOFT.replace('"de"', '"d2"'), "takes one primary component"),
    "lexi_sum without its primary": (TOP + LEXI + SOFT + 'score = "hard"\non_missing = "drop"\n', 'must be "null"'),
    "unknown base": ('extends = "rbio-mpl"\n', "mine.toml:1: extends: no profile 'rbio-mpl'; did you mean 'rbio-mlp'?"),
    "circle": ('extends = "mine"\n', "extends goes in a circle"),
    "removing what is not there": ('extends = "rbio-mlp"\n[[component]]\nname = "x"\nremove = true\n', "the base has no component 'x'"),
    "bad pattern": (TOP + "[extract]\npattern = '(['\n" + SOFT, "mine.toml:3: [extract] pattern:"),
    "pattern without a group": (TOP + "[extract]\npattern = 'yes'\n" + SOFT, "exactly one group"),
    "pattern beyond RE2": (TOP + "[extract]\npattern = '(a)\\1'\n" + SOFT, "mine.toml:3: [extract] pattern:"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS)
def test_fault(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    with pytest.raises(ProfileFault) as fault:
        load_profiles(tmp_path)
    assert str(tmp_path / "mine.toml") in str(fault.value)
    assert message in str(fault.value)


FILES = {
    "shipped name": ("rbio-mlp.toml", b"", "is a shipped profile"),
    "name": ("My Profile.toml", b"", "cannot name a profile"),
    "encoding": ("mine.toml", b"\xff", "not UTF-8 at byte 0"),
}


@pytest.mark.parametrize(("name", "content", "message"), FILES.values(), ids=FILES)
def test_file(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ProfileFault) as fault:
        load_profiles(tmp_path)
    assert message in str(fault.value)


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ProfileFault, match="no such folder"):
        load_profiles(tmp_path / "file")
