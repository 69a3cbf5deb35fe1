"""Cases by recipe are ordinary questions, and the certificate alone judges the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from quantcheck import mutants
from quantcheck.judge.judgements import judge_answer
from quantcheck.judge.verdict import Verdict
from quantcheck.run import golden
from quantcheck.run.run import Run
from quantcheck.run.settings import LARGE_LIMIT, Settings
from quantcheck.targets.reference.operations import answer
from quantcheck.wire.cases import Case

from .recipe_cases import DEFAULT, RECIPES, SIZES

pytestmark = pytest.mark.requirement("VEC-080")


@pytest.mark.parametrize("case", DEFAULT, ids=lambda case: case.id)
def test_the_certificate_alone_judges(case: Case) -> None:
    """The reference passes; mutants of the topic fail; a code too many or a wrong shape too."""
    question = case.question()
    assert case.question() == question
    right = answer(question)
    for u in (2.0**-24, 2.0**-53):
        judged, _ = judge_answer(case, right, unit_roundoff=u)
        assert {j.requirement for j in judged} == set(case.requirements)
        assert {j.verdict for j in judged} == {Verdict.PASS}
    topic = [m for m in mutants.MUTANTS if m.blames == case.requirements[0] and not m.generated]
    assert {m.id for m in topic if "gptq" in m.sections} == set(case.kills)
    wrong = json.loads(json.dumps(right))
    codes = wrong["outputs"]["codes"]["data"]
    codes[700] = (codes[700] + 1) % 2 ** case.parameters["bits"]
    judged, _ = judge_answer(case, wrong, unit_roundoff=2.0**-24)
    assert any(j.verdict == Verdict.FAIL for j in judged)
    failed = next(j for j in judged if j.verdict == Verdict.FAIL)
    assert failed.evidence is not None
    assert set(failed.evidence) == {"codes", "loss", "parameters"}
    del wrong["outputs"]["codes"]["data"][512:]
    wrong["outputs"]["codes"]["shape"] = [1, 512]
    judged, _ = judge_answer(case, wrong, unit_roundoff=2.0**-24)
    assert {j.verdict for j in judged} == {Verdict.FAIL, Verdict.NOT_JUDGED}


@pytest.mark.parametrize("case", SIZES, ids=lambda case: case.id)
def test_feedback_along_wrong_rows_fails(case: Case) -> None:
    """Also where single precision of thousands of columns widens the bounds."""
    given = mutants.load("gptq-inverse-rows").answer(case.question())
    judged, _ = judge_answer(case, given, unit_roundoff=2.0**-24)
    assert any(j.verdict == Verdict.FAIL for j in judged)


def test_large_cases_are_asked_where_the_run_is_told_so() -> None:
    asked = {}
    for large in (False, True):
        run = Run(Settings("reference", only="vectors", sections=("gptq",), large=large))
        run.load()
        asked[large] = set(run.chosen())
        limits = [target.time_limit for target in run.asking.pool.targets]  # type: ignore[attr-defined]
        assert limits == [LARGE_LIMIT if large else 60.0]
        run.kill()
    assert asked[False] >= {case.id for case in DEFAULT}
    assert asked[True] - asked[False] == {case.id for case in RECIPES if case.large}


def test_a_canary_is_found_among_recipes_too() -> None:
    mutant, case = golden.canary("gptq", DEFAULT[-1:])
    assert (mutant, case) == (DEFAULT[-1].kills[0], DEFAULT[-1].id)


PLAIN = """
import math
for question in questions():
    wire, settings = question["inputs"], question["parameters"]
    assert set(wire) == {"weights", "hessian"}
    assert all(set(array) == {"dtype", "shape", "data"} for array in wire.values())
    n_out, n_in = wire["weights"]["shape"]
    w = wire["weights"]["data"]
    g = n_in if settings["group_size"] == -1 else settings["group_size"]
    groups, top, codes, scale, zero = -(-n_in // g), 2 ** settings["bits"] - 1, [], [], []
    for i in range(n_out):
        row = w[i * n_in : (i + 1) * n_in]
        for k in range(groups):
            part = row[k * g : (k + 1) * g]
            low, high = min(0.0, *part), max(0.0, *part)
            s = (high - low) / top
            z = min(max(round(-low / s), 0), top)
            scale.append(s)
            zero.append(z)
            codes += [min(max(round(x / s) + z, 0), top) for x in part]
    def array(dtype, shape, data):
        return {"dtype": dtype, "shape": shape, "data": data}
    send({"id": question["id"], "outputs": {
        "codes": array("uint8", [n_out, n_in], codes),
        "scale": array("float32", [n_out, groups], scale),
        "zero_point": array("uint8", [n_out, groups], zero),
        "g_idx": array("int32", [n_in], [j // g for j in range(n_in)])}})
"""


def test_a_plain_program_gets_them_as_questions(
    script: Callable[[str], list[str]],
    as_spec: Callable[[list[str]], str],
    corpus: Callable[[Iterable[str]], Path],
    quantcheck: Any,
    tmp_path: Path,
) -> None:
    """Plain rounding in a program without a package: it gets arrays, and is found out."""
    chosen = ("gptq-512-plain", "gptq-1024-order")
    folder = corpus(chosen)
    target = as_spec(script(PLAIN))
    options = ("--only", "vectors", "--section", "gptq", "--vectors", str(folder))
    done = quantcheck(target, *options, "--json", "report.json")
    assert done.returncode == 1, done.stdout + done.stderr
    (made,) = json.loads((tmp_path / "report.json").read_text("utf-8"))["reports"]
    (case,) = made["cases"]
    assert case["case"] == "gptq-512-plain"
    failed = [j for j in case["judgements"] if j["verdict"] == "fail"]
    assert {j["requirement"] for j in failed} == {"GPTQ-060"}
    assert "plain rounding: no error was fed back" in failed[0]["name"]
    written = quantcheck("--questions", "questions.jsonl", "--large", *options)
    assert written.returncode == 0
    lines = (tmp_path / "questions.jsonl").read_text("utf-8").splitlines()
    asked = [json.loads(line) for line in lines[1:-1]]
    assert {question["id"] for question in asked} == set(chosen)
    shapes = [question["inputs"]["hessian"]["shape"] for question in asked]
    assert sorted(shapes) == [[512, 512], [1024, 1024]]
