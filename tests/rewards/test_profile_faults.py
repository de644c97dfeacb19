"""Profiles that must not load, and what the message says: file, line, key, nearest, what to do."""

# ruff: noqa: E501 - a table reads best in rows

from __future__ import annotations

import pytest

from service.rewards.profiles import ProfileFault, load_profiles

TOP = 'tasks = ["perturbation.de"]\n'
SOFT = '[[component]]\nname = "de"\nverifier = "perturbation"\nmodel = "m"\n'
FORMAT = '[[component]]\nname = "f"\nverifier = "format"\nrole = "auxiliary"\n'
SUM = '[compose]\noperator = "sum"\n'
LEXI = '[compose]\noperator = "lexi_sum"\n'
CAUTIOUS = '[compose]\noperator = "mean_minus_sd"\nrisk = 0.5\n'
FAMILY = '[[component]]\nname = "{0}"\nverifier = "perturbation"\nmodel = "family:{0}"\n'
BOTH = FAMILY.format("a") + FAMILY.format("b")
NOISE = "[compose]\nfloor = -1\n[compose.noise]\nrho0 = 0.1\nrho1 = 0.1\n"
NUMBER = 'tasks = ["number"]\n'
LIST = 'tasks = ["label_list"]\n'
DISTANCE = '[[component]]\nname = "n"\nverifier = "number"\nmatch = "absolute"\n'

FAULTS = {
    "not TOML": ("tasks = [", "mine.toml: not TOML"),
    "unknown key": (TOP + SOFT + 'modle = "m"\n', "mine.toml:6: [component 'de'] unknown key 'modle'; did you mean 'model'?"),
    "unknown table": (TOP + "[extrakt]\n" + SOFT, "unknown key 'extrakt'; did you mean 'extract'?"),
    "unknown key of a table": (TOP + "[extract]\nmaxchars = 1\n" + SOFT, "mine.toml:3: [extract] unknown key 'maxchars'; did you mean 'max_chars'?"),
    "wrong type": (TOP + '[extract]\nmax_chars = "many"\n' + SOFT, "mine.toml:3: [extract] max_chars: Expected `int`, got `str`"),
    "out of range": (TOP + "[compose]\nfloor = 1\n" + SOFT, "mine.toml:3: [compose] floor:"),
    "neutral beyond the range": (TOP + "[compose]\nneutral = 1.5\n" + SOFT, "mine.toml:3: [compose] neutral: 1.5 is outside of what this recipe earns, 0 to 1"),
    "neutral of NaN": (TOP + "[compose]\nneutral = nan\n" + SOFT, "neutral: nan is outside"),
    "unknown operator": (TOP + '[compose]\noperator = "max"\n' + SOFT, "operator: 'max' is none of sum, mean, product, min, lexi_sum, first_ok, mean_minus_sd"),
    "operator misspelt": (TOP + '[compose]\noperator = "maen"\n' + SOFT, "mean_minus_sd; did you mean 'mean'?"),
    "operator of another type": (TOP + "[compose]\noperator = 3\n" + SOFT, "mine.toml:3: [compose] operator: 3 is none of sum, mean"),
    "unknown role": (TOP + SOFT + 'role = "primery"\n', "role: 'primery' is none of primary, auxiliary, report, gate; did you mean 'primary'?"),
    "unknown on_missing": (TOP + SOFT + 'on_missing = "zero"\n', "on_missing: 'zero' is none of null, drop, floor"),
    "unknown grammar": (TOP + '[extract]\ngrammar = "lax"\n' + SOFT, "mine.toml:3: [extract] grammar: 'lax' is none of strict, released"),
    "unknown place": (TOP + '[extract]\nanswer = "box"\n' + SOFT, "answer: 'box' is none of tag, after-think, boxed, letter, json, last-line, pattern, tool; did you mean 'boxed'?"),
    "unknown states": (TOP + '[extract]\nstates = "logit"\n' + SOFT, "states: 'logit' is none of label, probability"),
    "unknown evidence in a list": (TOP + SOFT + 'score = "hard"\nevidence = ["model", "turth"]\n', "evidence: 'turth' is none of truth, model; did you mean 'truth'?"),
    "unknown task": ('tasks = ["perturbation.dee"]\n' + SOFT, "mine.toml:1: tasks: unknown 'perturbation.dee'; did you mean 'perturbation.de'?"),
    "task twice": ('tasks = ["label", "label"]\n', "named twice"),
    "tasks as text": ('tasks = "label"\n', "tasks: expected a list"),
    "unknown verifier": (TOP + '[[component]]\nname = "a"\nverifier = "perturb"\n', "did you mean 'perturbation'?"),
    "no verifier": (TOP + '[[component]]\nname = "a"\n', "verifier: missing"),
    "no name": (TOP + '[[component]]\nverifier = "format"\n', "name"),
    "no model": (TOP + '[[component]]\nname = "a"\nverifier = "perturbation"\n', "model"),
    "component as a table": (TOP + "[component]\n", "write each component as a [[component]] table"),
    "name twice": (TOP + SOFT + SOFT, "mine.toml:7: [component 'de'] name: 'de' is used twice"),
    "nothing earns": (TOP + SUM + FORMAT, "needs a primary component"),
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
    "verdict as a gate": (TOP + SUM + SOFT + FORMAT + SOFT.replace('"de"', '"g"') + 'role = "gate"\nat_least = 0.5\n', "cannot be a gate"),
    "gate without a threshold": (TOP + SOFT + FORMAT.replace("auxiliary", "gate"), "a gate needs at_least"),
    "threshold without a gate": (TOP + SOFT + "at_least = 0.5\n", "a gate needs at_least"),
    "gate that is floored": (TOP + SOFT + FORMAT.replace("auxiliary", "gate") + 'at_least = 0.5\non_missing = "floor"\n', "mine.toml:11: [component 'f'] on_missing: a gate without an opinion"),
    "any molecule": ('tasks = ["molecule.equal"]\n[[component]]\nname = "v"\nverifier = "molecule.valid"\n', "molecule.valid pays for any molecule"),
    "style as the verdict": (TOP + FORMAT.replace("auxiliary", "primary"), "mine.toml:5: [component 'f'] role: format judges how a completion is written"),
    "style beside the verdict": (TOP + SOFT + FORMAT.replace("auxiliary", "primary"), "cannot be primary"),
    "style in a mean": (TOP + SOFT + FORMAT + "weight = 5\n", "mine.toml:9: [component 'f'] role: operator 'mean' joins primaries only"),
    "style in a sum": (TOP + SUM + SOFT + FORMAT, "can outrank the verdict"),
    "style in a product": (TOP + SUM.replace("sum", "product") + SOFT + FORMAT, "operator 'product' joins primaries only"),
    "style in a least": (TOP + SUM.replace("sum", "min") + SOFT + FORMAT, "operator 'min' joins primaries only"),
    "style for the verdict": (TOP + SUM.replace("sum", "first_ok") + FORMAT + SOFT, "operator 'first_ok' joins primaries only"),
    "weights under min": (TOP + '[compose]\noperator = "min"\n' + SOFT + "weight = 2\n", "takes no weights"),
    "missing under first_ok": (TOP + '[compose]\noperator = "first_ok"\n' + SOFT + 'on_missing = "drop"\n', 'leave it "null"'),
    "range not earned": (TOP + "[compose]\nrange = [0, 4]\n" + SOFT, "earns from 0 (the floor) to 1, not 0 to 4"),
    "range without the floor": (TOP + "[compose]\nfloor = -1\nrange = [0, 1]\n" + SOFT, "earns from -1 (the floor) to 1"),
    "lexi_sum of a soft primary": (TOP + LEXI + SOFT + FORMAT + "weight = 0.1\n", "set min_gap"),
    "lexi_sum with heavy style": (TOP + LEXI + SOFT + "min_gap = 0.2\n" + FORMAT + "weight = 0.2\n", "the auxiliary weights sum to 0.2, not less than 0.2"),
    "lexi_sum, hard, heavy style": (TOP + LEXI + SOFT + 'score = "hard"\n' + FORMAT, "sum to 1, not less than 1"),
    "lexi_sum of two primaries": (TOP + LEXI + SOFT + SOFT.replace('"de"', '"d2"'), "takes one primary component"),
    "lexi_sum without its primary": (TOP + LEXI + SOFT + 'score = "hard"\non_missing = "drop"\n', 'must be "null"'),
    "lexi_sum of a graded primary": (NUMBER + LEXI + DISTANCE + "decay = 1\n" + FORMAT + "weight = 0.05\n", "is soft or graded"),
    "lexi_sum of a list": (LIST + LEXI + '[[component]]\nname = "l"\nverifier = "label_list"\n' + FORMAT + "weight = 0.05\n", "max_length (of a list)"),
    "lexi_sum above a step": (NUMBER + LEXI + DISTANCE + "decay = 1\nstep = 0.1\n" + FORMAT + "weight = 0.1\n", "sum to 0.1, not less than 0.1"),
    "lexi_sum of a proper score": (TOP + '[extract]\nstates = "probability"\n' + LEXI + SOFT + 'score = "brier"\nmin_gap = 0.5\n' + FORMAT + "weight = 0.05\n", "is soft or graded"),
    "floor above a wrong answer": (TOP + "[compose]\nscale = [-1, 1]\n" + SOFT, "mine.toml:2: [compose] floor: 0 is above -1, what a wrong answer earns"),
    "floor above a wrong answer, stated": (TOP + "[compose]\nscale = [-1, 1]\nfloor = -0.5\n" + SOFT, "mine.toml:4: [compose] floor: -0.5 is above -1"),
    "floor above a corrected one": (TOP + NOISE.replace("-1", "-0.1") + SOFT, "mine.toml:3: [compose] floor: -0.1 is above -0.125"),
    "range of a scale": (TOP + "[compose]\nscale = [-1, 1]\nfloor = -1\nrange = [0, 1]\n" + SOFT, "mine.toml:5: [compose] range: this recipe earns from -1 (the floor) to 1, not 0 to 1"),
    "range of a correction": (TOP + NOISE.replace("[compose.noise]", "range = [-1, 1]\n[compose.noise]") + SOFT, "earns from -1 (the floor) to 1.125, not -1 to 1"),
    "scale of a sum": (TOP + '[compose]\noperator = "sum"\nscale = [-1, 1]\nfloor = -1\n' + SOFT, "mine.toml:4: [compose] scale: operator 'sum' does not score in [0,1]"),
    "scale of lexi_sum": (TOP + LEXI + "scale = [-1, 1]\nfloor = -1\n" + SOFT + 'score = "hard"\n', "scale: operator 'lexi_sum' does not score in [0,1]"),
    "noise of a sum": (TOP + NOISE.replace("floor = -1", 'floor = -1\noperator = "sum"') + SOFT, "noise: operator 'sum' does not score in [0,1]"),
    "scale upside down": (TOP + "[compose]\nscale = [1, -1]\nfloor = -1\n" + SOFT, "mine.toml:3: [compose] scale: expected what 0 earns below what 1 earns"),
    "scale of nothing": (TOP + "[compose]\nscale = [0, 0]\n" + SOFT, "expected what 0 earns below what 1 earns"),
    "scale of three": (TOP + "[compose]\nscale = [0, 1, 2]\n" + SOFT, "mine.toml:3: [compose] scale:"),
    "scale beyond bounds": (TOP + "[compose]\nscale = [0, inf]\n" + SOFT, "mine.toml:3: [compose] scale:"),
    "noise without a rate": (TOP + "[compose.noise]\nrho0 = 0.1\n" + SOFT, "mine.toml:2: [compose.noise] Object missing required field `rho1`"),
    "noise of a coin": (TOP + "[compose.noise]\nrho0 = 0.5\nrho1 = 0.5\n" + SOFT, "mine.toml:4: [compose.noise] rho1: rho0 + rho1 = 1, not below 1"),
    "noise of a stratum": (TOP + NOISE + "[compose.noise.strata.k562]\nrho0 = 0.9\nrho1 = 0.2\n" + SOFT, "mine.toml:9: [compose.noise.strata.k562] rho1: rho0 + rho1 = 1.1, not below 1"),
    "noise, unknown key": (TOP + NOISE + "rho2 = 0.1\n" + SOFT, "mine.toml:7: [compose.noise] unknown key 'rho2'; did you mean 'rho1'?"),
    "noise, negative": (TOP + "[compose.noise]\nrho0 = -0.1\nrho1 = 0.1\n" + SOFT, "mine.toml:3: [compose.noise] rho0:"),
    "noise, a stratum twice": (TOP + NOISE + '[compose.noise.strata]\nk562 = { rho0 = 0.1, rho1 = 0.1 }\n"K-562" = { rho0 = 0.1, rho1 = 0.1 }\n' + SOFT, "'K-562' names no stratum of its own"),
    "noise as a number": (TOP + "[compose]\nnoise = 0.1\n" + SOFT, "mine.toml:3: [compose] noise: expected a table, got 0.1"),
    "strata as a number": (TOP + NOISE + "strata = 1\n" + SOFT, "mine.toml:7: [compose.noise] strata: expected a table, got 1"),
    "risk without caution": (TOP + "[compose]\nrisk = 0.5\n" + SOFT, 'mine.toml:3: [compose] risk: only operator = "mean_minus_sd" takes it'),
    "caution without risk": (TOP + '[compose]\noperator = "mean_minus_sd"\n' + BOTH, "mine.toml:3: [compose] risk: missing"),
    "caution about one": (TOP + CAUTIOUS + FAMILY.format("a"), "mine.toml:3: [compose] operator: mean_minus_sd needs two primary components"),
    "risk above the bound": (TOP + CAUTIOUS.replace("0.5", "0.8") + BOTH + FAMILY.format("c"), "mine.toml:4: [compose] risk: 0.8 is above 1/√2 = 0.707107"),
    "risk above 1": (TOP + CAUTIOUS.replace("0.5", "1.5") + BOTH, "mine.toml:4: [compose] risk:"),
    "caution about one family": (TOP + CAUTIOUS + BOTH + FAMILY.format("a").replace('name = "a"', 'name = "c"'), "mine.toml:16: [component 'c'] model: mean_minus_sd pays for agreement"),
    "caution about any model": (TOP + CAUTIOUS + BOTH.replace("family:b", "*"), "'*' is not"),
    "caution and style": (TOP + CAUTIOUS + BOTH + FORMAT, "mine.toml:16: [component 'f'] role: mean_minus_sd joins primaries only"),
    "caution with weights": (TOP + CAUTIOUS + BOTH + "weight = 2\n", "operator 'mean_minus_sd' takes no weights"),
    "brier of a label": (TOP + SOFT + 'score = "brier"\n', "mine.toml:6: [component 'de'] score: answers state a label here"),
    "log of a label": ("[[component]]\nname = \"a\"\nverifier = \"answer\"\nscore = \"log\"\n", "mine.toml:4: [component 'a'] score: answers state a label here"),
    "prob of a probability": (TOP + '[extract]\nstates = "probability"\n' + SOFT, "[component 'de'] score: answers state a probability here"),
    "a label's report of a probability": (TOP + '[extract]\nstates = "probability"\n' + SOFT + 'score = "log"\n' + SOFT.replace('"de"', '"d2"') + 'role = "report"\n', "[component 'd2'] score: answers state a probability here"),
    "unknown score": (TOP + SOFT + 'score = "lift up"\n', "score: 'lift up' is none of prob, raw, lift, hard, brier, log"),
    "epsilon 0": (TOP + SOFT + 'score = "log"\nepsilon = 0\n', "mine.toml:7: [component 'de'] epsilon:"),
    "selector of another kind": (TOP + SOFT.replace('"m"', '"familly:pair-mlp"'), "mine.toml:5: [component 'de'] model: 'familly:pair-mlp' selects nothing"),
    "selector without a family": (TOP + SOFT.replace('"m"', '"family:"'), "model: 'family:' selects nothing"),
    "selector with blanks": (TOP + SOFT.replace('"m"', '" m"'), "model: ' m' selects nothing"),
    "selector as a pattern": (TOP + SOFT.replace('"m"', '"pair-*"'), "* stands alone"),
    "tolerance of exactness": (NUMBER + DISTANCE.replace("absolute", "exact") + "tolerance = 1\n", "mine.toml:6: [component 'n'] tolerance: match = \"exact\" has none"),
    "decay of exactness": (NUMBER + DISTANCE.replace("absolute", "exact") + "decay = 1\n", "decay: match = \"exact\" has none"),
    "step without decay": (NUMBER + DISTANCE + "step = 0.1\n", "step: without decay scores are 0 or 1"),
    "step that does not divide": (NUMBER + DISTANCE + "decay = 1\nstep = 0.3\n", "step: 0.3 does not divide 1"),
    "negative tolerance": (NUMBER + DISTANCE + "tolerance = -1\n", "mine.toml:6: [component 'n'] tolerance:"),
    "unknown match": (NUMBER + DISTANCE.replace("absolute", "near"), "match: 'near' is none of exact, absolute, relative, log"),
    "checkpoints without a part": ('tasks = ["checkpoints"]\n[[component]]\nname = "c"\nverifier = "checkpoints"\n', "`part`"),
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
