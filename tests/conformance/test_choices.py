"""Choices of SPEC.md: no target is blamed for one that it does not declare.

Each answer here is that of a quantizer that keeps to its own documentation, or to the original
code, where SPEC.md chose otherwise. Beside it stands an answer that is wrong in the same place.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantcheck.corpus.cal.windows import windows_case
from quantcheck.corpus.hessian import sum_case
from quantcheck.errors import TargetProtocolError
from quantcheck.judge.choices import ALL, REASON, as_differences, undeclared
from quantcheck.judge.judgements import judge_answer, judge_law
from quantcheck.judge.verdict import Judgement, Verdict
from quantcheck.properties import Sample, load
from quantcheck.run import generated
from quantcheck.run.draws import Draws, draw
from quantcheck.spec import requirements
from quantcheck.targets.reference import operations
from quantcheck.wire.arrays import decode_array, encode_array
from quantcheck.wire.cases import Case
from quantref.absmax import abs_max_quantize
from quantref.affine import affine_parameters, range_parameters
from quantref.gptq import gptq_quantize
from quantref.rules import Profile, mirror_where_negative, raw_range

pytestmark = pytest.mark.requirement("VER-110")
U32 = 2.0**-24
Answer = dict[str, Any]
Cases = dict[str, Case]
Array = NDArray[Any]


def verdicts(case: Case, answer: Answer, declared: tuple[str, ...] = ()) -> dict[str, str]:
    """The verdicts that are neither pass nor none, by requirement."""
    judged, _ = judge_answer(case, {"id": case.id, **answer}, unit_roundoff=U32)
    others = undeclared(requirements.load(), declared)
    without = (Verdict.PASS, Verdict.NOT_JUDGED)
    found = as_differences(judged, others)
    return {j.requirement: j.verdict.value for j in found if j.verdict not in without}


def outputs(**arrays: Array) -> Answer:
    return {"outputs": {name: encode_array(np.asarray(value)) for name, value in arrays.items()}}


def right(case: Case) -> Answer:
    return dict(operations.answer(case.question()))


def changed(case: Case, name: str, change: Callable[[Array], Array]) -> Answer:
    """The right answer with one output changed."""
    made = right(case)["outputs"]
    return {"outputs": {**made, name: encode_array(change(decode_array(made[name])))}}


# Windows


def strided(case: Case, tokens: Array) -> Answer:
    """Windows at regular intervals, back to back, as `get_dataloader` says."""
    count, length = case.parameters["num_samples"], case.parameters["sequence_length"]
    stride = max(1, (len(tokens) - length + 1) // count)
    return outputs(windows=np.stack([tokens[k * stride :][:length] for k in range(count)]))


def test_windows_may_start_elsewhere(cases: Cases) -> None:
    case = cases["cal-windows-uneven"]
    tokens = case.judging["dataset_tokens"].astype(np.int32)
    assert verdicts(case, strided(case, tokens)) == {"CAL-040": "difference"}
    assert verdicts(case, strided(case, tokens), ("CAL-040",)) == {"CAL-040": "fail"}
    assert verdicts(case, strided(case, tokens[::-1].copy()))["CAL-020"] == "fail"


def test_overlaps_are_not_booked_under_the_pieces(cases: Cases) -> None:
    tokens = np.arange(22, dtype=np.int32)
    case = windows_case(
        "drawn", "pieces", [tokens[:9], tokens[9:]], num_samples=4, sequence_length=5
    )
    for names in (("CAL-020", "CAL-060"), ("CAL-060",)):
        case = Case(**{**vars(case), "requirements": names})
        found = verdicts(case, strided(case, tokens))
        assert found == {"CAL-030": "difference", "CAL-040": "difference"}


def test_short_datasets_may_be_repeated(cases: Cases) -> None:
    case = cases["cal-refuse-few"]
    count, length = case.parameters["num_samples"], case.parameters["sequence_length"]
    tokens = np.resize(case.inputs["dataset"][0], count * length).astype(np.int32)
    answer = outputs(windows=tokens.reshape(count, length))
    assert verdicts(case, answer) == {"CAL-070": "difference"}
    assert verdicts(case, answer, (ALL,)) == {"CAL-070": "fail"}


# Batches and groups


def test_batches_of_rank_1_may_be_refused() -> None:
    x = np.arange(24, dtype=np.float32).reshape(3, 8) / 4
    case = sum_case("drawn", "tokens", [x[0], x[1:]], "HES-030")
    assert verdicts(case, {"refused": "rank"}) == {"HES-120": "difference"}
    whole = sum_case("drawn", "tokens", [x[:1], x[1:]], "HES-030")
    assert verdicts(whole, {"refused": "rank"}) == {"HES-030": "fail"}


def test_a_law_books_a_refused_batch_of_rank_1_as_the_choice() -> None:
    x = np.arange(24, dtype=np.float32).reshape(3, 8) / 4
    law = next(iter(draw(load(["hes"])["prop-hes-split"], Draws(factor=0.1)))).law
    pair = tuple(sum_case("drawn", "tokens", b, "HES-030") for b in ([x], [x[0], x[1:]]))
    answers = [right(pair[0]), {"refused": "rank"}]
    (found,) = generated.judge(Sample(pair, law), answers, U32).judgements
    assert (found.requirement, found.verdict) == ("HES-120", Verdict.FAIL)


def test_batches_may_be_summed_in_single_precision(cases: Cases) -> None:
    case = cases["hes-batches-of-one"]
    sums = np.zeros((3, 3), np.float32)
    for batch in case.inputs["batches"]:
        sums += batch.T @ batch
    answer = outputs(hessian=sums * np.float32(2 / 24))
    assert verdicts(case, answer) == {"HES-130": "difference"}
    assert verdicts(case, answer, ("HES-130",)) == {"HES-130": "fail"}
    half = outputs(hessian=sums * np.float32(1 / 24))  # a wrong sum breaks no choice besides
    assert verdicts(case, half) == {"HES-030": "fail"}


def test_a_single_group_may_have_the_range_of_dead_columns(cases: Cases) -> None:
    """The original code takes it before it zeroes these columns; their codes are z all the same."""
    case = cases["gptq-dead"]
    scale, zero = affine_parameters(case.inputs["weights"], bits=4)
    live = np.where(np.diagonal(case.inputs["hessian"]) == 0, 0.0, case.inputs["weights"])
    codes = np.clip(np.rint(live / scale) + zero, 0, 15).astype(np.uint8)  # H is diagonal
    g_idx = case.expected["outputs"]["g_idx"]
    answer = outputs(codes=codes, scale=scale, zero_point=zero, g_idx=g_idx)
    assert verdicts(case, answer) == {"GPTQ-140": "difference"}
    codes = np.clip(np.rint(case.inputs["weights"] / scale) + zero, 0, 15).astype(np.uint8)
    kept = outputs(codes=codes, scale=scale, zero_point=zero, g_idx=g_idx)
    assert verdicts(case, kept) == {"GPTQ-010": "fail"}


@pytest.mark.requirement("ABS-140", "AFF-200", "HES-140", "GPTQ-170")
@pytest.mark.parametrize(
    ("name", "output", "shown"),
    [
        ("prop-abs-visible", "scale", (np.nan, np.inf, 0.0)),
        ("prop-aff-visible", "scale", (np.nan, np.inf, 0.0)),
        ("prop-gptq-visible", "scale", (np.nan, np.inf, 0.0)),
        ("prop-hes-visible", "hessian", (np.nan, np.inf)),
    ],
)
def test_what_is_not_finite_may_be_answered_if_it_shows(
    name: str, output: str, shown: tuple[float, ...]
) -> None:
    (case,) = draw(load()[name])[0].cases
    (requirement,) = case.requirements
    answer = np.ones((5, 1), np.float32)
    assert verdicts(case, outputs(**{output: answer})) == {requirement: "fail"}
    for value in shown:
        answer[2] = value
        assert verdicts(case, outputs(**{output: answer})) == {}
    assert verdicts(case, outputs(codes=answer)) == {requirement: "fail"}


def test_without_per_channel_one_scale_may_cover_all_columns(cases: Cases) -> None:
    case = cases["aff-per-tensor-groups"]
    bits = case.parameters["bits"]
    s, z = affine_parameters(case.inputs["weights"], bits=bits, per_channel=False, group_size=-1)
    answer = outputs(scale=s, zero_point=z)
    assert verdicts(case, answer) == {"AFF-190": "difference"}
    assert verdicts(case, answer, (ALL,)) == {"AFF-190": "fail"}
    wrong = verdicts(case, outputs(scale=s * np.float32(1.5), zero_point=z))
    assert wrong == {"AFF-190": "difference", "AFF-150": "fail"}
    wrong = verdicts(case, outputs(scale=s, zero_point=z + np.uint8(3)))
    assert wrong == {"AFF-190": "difference", "AFF-060": "fail"}


def as_the_original(case: Case, **rules: Any) -> Answer:
    """Symmetric parameters of ranges that are mirrored only where a weight is negative."""
    weights = case.inputs["weights"].astype(np.float64)
    ends = weights.min(axis=1, keepdims=True), weights.max(axis=1, keepdims=True)
    profile = Profile(mirror=mirror_where_negative, **rules)
    bits = case.parameters["bits"]
    s, z = range_parameters(*ends, bits=bits, symmetric=True, profile=profile)
    return outputs(scale=s, zero_point=z)


def test_ranges_without_negative_weights_may_be_those_of_the_original_code(cases: Cases) -> None:
    case = cases["aff-positive-symmetric"]
    assert verdicts(case, as_the_original(case)) == {"AFF-140": "difference"}
    assert verdicts(case, as_the_original(case, range=raw_range)) == {"AFF-010": "fail"}
    other = cases["aff-4bit-symmetric"]
    assert verdicts(other, as_the_original(other)) == {}
    half = changed(other, "scale", lambda scale: scale / np.float32(2))
    assert verdicts(other, half)["AFF-150"] == "fail"


@pytest.mark.parametrize("rules", [{}, {"range": raw_range}])
def test_so_may_those_of_gptq(cases: Cases, rules: dict[str, Any]) -> None:
    from quantcheck.wire.configs import gptq_config

    case = cases["gptq-positive-symmetric"]
    profile = Profile(mirror=mirror_where_negative, **rules)
    config = gptq_config(case.parameters)
    made = gptq_quantize(case.inputs["weights"], case.inputs["hessian"], config, profile=profile)
    answer = outputs(
        codes=made.codes, scale=made.scale, zero_point=made.zero_point, g_idx=made.g_idx
    )
    found = verdicts(case, answer)
    assert found == ({"GPTQ-030": "fail"} if rules else {"AFF-140": "difference"})


# Configs and layers


def test_null_means_the_axis_of_the_default_quantizer(cases: Cases) -> None:
    case = cases["cfg-int8-default"]
    fields = right(case)["outputs"]["fields"]
    quantizer = fields["activation_quantizer"]

    def answer(**inner: Any) -> Answer:
        nested = {**quantizer, "fields": {**quantizer["fields"], **inner}}
        return {"outputs": {"fields": {**fields, "activation_quantizer": nested}}}

    assert verdicts(case, answer(axis=None)) == {"CFG-140": "difference"}
    assert verdicts(case, answer(axis=-1)) == {"CFG-140": "difference"}
    assert verdicts(case, answer(axis=[0])) == {"CFG-060": "fail"}
    assert verdicts(case, answer(axis=None, epsilon=0.5)) == {"CFG-060": "fail"}


def test_the_default_quantizer_of_four_bits_may_be_that_of_the_docstring(cases: Cases) -> None:
    case = cases["four-config-default"]
    fields = right(case)["outputs"]["fields"]
    documented = right(cases["cfg-int8-default"])["outputs"]["fields"]["activation_quantizer"]

    def answer(**changes: Any) -> Answer:
        return {"outputs": {"fields": {**fields, **changes}}}

    assert verdicts(case, answer(activation_quantizer=documented)) == {"FOUR-180": "difference"}
    other = {**documented, "fields": {**documented["fields"], "epsilon": 0.5}}
    assert verdicts(case, answer(activation_quantizer=other)) == {"FOUR-140": "fail"}
    assert verdicts(case, answer(block_size=None)) == {"FOUR-140": "fail"}


def test_none_and_minus_one_are_the_same_block_size(cases: Cases) -> None:
    for name, other in (("four-config-none", -1), ("four-config-channel", None)):
        fields = right(cases[name])["outputs"]["fields"]
        same = {"outputs": {"fields": {**fields, "block_size": other}}}
        lost = {"outputs": {"fields": {k: v for k, v in fields.items() if k != "block_size"}}}
        assert verdicts(cases[name], same) == {}
        assert verdicts(cases[name], lost) == {"FOUR-140": "fail"}


def test_a_stored_range_is_not_a_choice(cases: Cases) -> None:
    case = cases["cfg-absmax-range"]
    fields = right(case)["outputs"]["fields"]
    answer = {"outputs": {"fields": {**fields, "value_range": [-127, 127]}}}
    assert verdicts(case, answer) == {"CFG-100": "fail"}


@pytest.mark.parametrize(
    ("identity", "choice"),
    [
        ("lay-refuse-equation", "LAY-150"),
        ("lay-refuse-nan", "LAY-150"),
        ("rnd-refuse-infinity", "RND-030"),
        ("rnd-refuse-integers", "RND-030"),
        ("abs-refuse-nan", "ABS-100"),
        ("abs-refuse-integers", "ABS-100"),
        ("aff-refuse-nan", "AFF-110"),
        ("hes-refuse-integers", "HES-090"),
        ("gptq-refuse-infinity", "GPTQ-110"),
        ("cfg-refuse-epsilon", "CFG-130"),
        ("cal-refuse-floats", "CAL-080"),
    ],
)
def test_what_nobody_promises_to_refuse_may_be_answered(
    cases: Cases, identity: str, choice: str
) -> None:
    case = cases[identity]
    assert verdicts(case, {"outputs": {}}) == {choice: "difference"}
    assert verdicts(case, {"error": "out of luck"}) == {choice: "difference"}
    assert verdicts(case, {"outputs": {}}, (ALL,)) == {choice: "fail"}
    assert verdicts(case, {"refused": "no"}) == {}


@pytest.mark.parametrize("identity", ["hes-refuse-indefinite", "gptq-refuse-singular"])
def test_what_the_original_code_refuses_is_refused(cases: Cases, identity: str) -> None:
    assert set(verdicts(cases[identity], {"outputs": {}}).values()) == {"fail"}


@pytest.mark.parametrize(
    ("identity", "name", "choice"),
    [
        ("pack-int2-all", "packed", "PACK-050"),
        ("lay-dense-gptq-2bit", "values", "LAY-190"),
        ("lay-dense-gptq-8bit", "values", "LAY-190"),
    ],
)
def test_other_widths_than_4_bits_may_be_packed_otherwise(
    cases: Cases, identity: str, name: str, choice: str
) -> None:
    case = cases[identity]
    assert verdicts(case, changed(case, name, lambda a: a + a.dtype.type(1))) == {
        choice: "difference"
    }
    assert verdicts(case, {"refused": "4 bits alone"}) == {choice: "difference"}


def test_4_bits_may_not(cases: Cases) -> None:
    packed = cases["pack-int4-all"]
    swapped = changed(packed, "packed", lambda a: (a << 4) | ((a >> 4) & 15))
    assert "fail" in verdicts(packed, swapped).values()
    layer = cases["lay-dense-gptq-4bit"]
    assert "fail" in verdicts(layer, changed(layer, "values", lambda v: v + 1)).values()
    assert verdicts(layer, {"refused": "no"}) == {"LAY-180": "fail"}


# float64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float64_may_be_dropped(cases: Cases, dtype: str) -> None:
    case = cases["rnd-saturate-int32"]
    x = case.inputs["x"].astype(np.float32).astype(np.float64)
    codes = np.clip(np.rint(x), -(2.0**31), 2.0**31 - 1).astype(np.int32)
    assert verdicts(case, outputs(codes=codes)) == {"RND-040": "difference"}
    ties = cases["rnd-ties-float64"]
    x = ties.inputs["x"].astype(np.float32)
    kept = verdicts(ties, outputs(values=np.rint(x).astype(dtype)))
    assert kept == ({} if dtype == "float64" else {"RND-040": "difference"})
    up = np.floor(x + np.float32(0.5)).astype(dtype)
    assert verdicts(ties, outputs(values=up))["RND-010"] == "fail"


def test_float64_may_be_dropped_by_absmax(cases: Cases) -> None:
    case = cases["abs-float64"]
    codes, scale = abs_max_quantize(case.inputs["x"].astype(np.float32), axis=-1)
    assert verdicts(case, outputs(codes=codes, scale=scale)) == {"ABS-130": "difference"}
    flat = verdicts(case, outputs(codes=codes, scale=-scale))
    assert flat["ABS-120"] == "fail"


def test_float64_may_be_kept(cases: Cases) -> None:
    for identity, name, requirement in (
        ("aff-float64", "scale", "AFF-150"),
        ("aff-dequantize-largest", "values", "AFF-160"),
    ):
        case = cases[identity]
        assert verdicts(case, changed(case, name, lambda a: a.astype(np.float64))) == {
            "AFF-170": "difference"
        }
        wrong = verdicts(case, changed(case, name, lambda a: a.astype(np.float64) / 2))
        assert wrong[requirement] == "fail"


def test_a_scale_of_half_precision_has_to_be_finite(cases: Cases) -> None:
    case = cases["abs-float16-small"]
    half = changed(case, "scale", lambda scale: np.minimum(scale, 6e4).astype(np.float16))
    infinite = changed(case, "scale", lambda scale: np.full(scale.shape, np.inf, np.float16))
    assert verdicts(case, infinite)["ABS-120"] == "fail"
    assert "ABS-120" not in verdicts(case, half)


# Verdicts


def test_an_error_says_nothing_about_a_choice_among_promises() -> None:
    found = [Judgement(name, "case", Verdict.ERROR, "oh") for name in ("CAL-020", "CAL-040")]
    made = as_differences(found, frozenset({"CAL-040"}))
    assert [j.verdict for j in made] == [Verdict.ERROR, Verdict.NOT_JUDGED]
    (alone,) = as_differences(found[1:], frozenset({"CAL-040"}))
    assert (alone.verdict, alone.reason) == (Verdict.DIFFERENCE, REASON)
    for verdict in (Verdict.PASS, Verdict.UNSUPPORTED, Verdict.NOT_JUDGED):
        kept = [Judgement("CAL-040", "case", verdict)]
        assert as_differences(kept, frozenset({"CAL-040"})) == kept


@pytest.mark.parametrize("name", ["CAL-995", "CAL-020", "VER-110", "", "ALL"])
def test_what_is_no_choice_cannot_be_declared(name: str) -> None:
    with pytest.raises(TargetProtocolError) as caught:
        undeclared(requirements.load(), [ALL, name])
    assert repr(name) in caught.value.got
    assert "CAL-040" in caught.value.expected


OTHERWISE = """
from quantcheck.targets.reference.operations import answer
READY["choices"] = {choices}
for question in questions():
    found = answer(question)
    if "cal-windows" in question["id"] and "windows" in found.get("outputs", {{}}):
        data = found["outputs"]["windows"]["data"]
        {change}
    send({{**found, "id": question["id"]}})
"""
MOVED = "found['outputs']['windows']['data'] = data[::-1]"  # no runs of tokens any more
LATER = """
        values = question["inputs"]["dataset"][0]["data"]
        n, length = question["parameters"]["num_samples"], question["parameters"]["sequence_length"]
        starts = [0, *(len(values) - length - (n - 1 - k) * length for k in range(1, n))]
        data[:] = [t for i in starts for t in values[i:i + length]]
"""


def ended(quantcheck: Any, folder: Path, command: str, *, code: int) -> tuple[dict[str, Any], str]:
    files = [word for kind in ("json", "junit", "html", "badge") for word in (f"--{kind}", kind)]
    done = quantcheck(command, "--section", "cal", "--only", "vectors", *files)
    assert done.returncode == code, done.stdout + done.stderr
    (made,) = json.loads((folder / "json").read_text("utf-8"))["reports"]
    return made, done.stdout


def test_a_difference_turns_nothing_red(
    quantcheck: Any, script: Any, as_spec: Any, tmp_path: Path
) -> None:
    command = as_spec(script(OTHERWISE.format(choices=[], change=LATER.strip())))
    made, printed = ended(quantcheck, tmp_path, command, code=0)
    assert made["differences"] == ["CAL-040"]
    assert made["target"]["choices"] == []
    row = next(r for r in made["requirements"] if r["requirement"]["id"] == "CAL-040")
    assert row["verdict"] == "difference"
    assert row["requirement"]["source"] == "choice"
    assert row["worst"]["reason"] == REASON
    assert " differs " in printed
    assert "fail " not in printed
    cases = ET.fromstring((tmp_path / "junit").read_text("utf-8")).iter("testcase")
    (case,) = (case for case in cases if case.get("name") == "CAL-040")
    (skipped,) = case
    assert skipped.tag == "skipped"
    assert REASON in skipped.attrib["message"]
    page = (tmp_path / "html").read_text("utf-8")
    assert '<th scope="col" class="differences">Differences</th>' in page
    assert "1 not as chosen" in (tmp_path / "badge").read_text("utf-8")
    assert "#2b7a2b" in (tmp_path / "badge").read_text("utf-8")


@pytest.mark.everything
def test_a_declared_choice_is_judged(
    quantcheck: Any, script: Any, as_spec: Any, tmp_path: Path
) -> None:
    for choices in (["CAL-040"], [ALL]):
        command = as_spec(script(OTHERWISE.format(choices=choices, change=LATER.strip())))
        made, _ = ended(quantcheck, tmp_path, command, code=1)
        assert made["differences"] == []
        row = next(r for r in made["requirements"] if r["requirement"]["id"] == "CAL-040")
        assert row["verdict"] == "fail"


def test_a_promise_is_judged_undeclared(
    quantcheck: Any, script: Any, as_spec: Any, tmp_path: Path
) -> None:
    command = as_spec(script(OTHERWISE.format(choices=[], change=MOVED)))
    made, _ = ended(quantcheck, tmp_path, command, code=1)
    row = next(r for r in made["requirements"] if r["requirement"]["id"] == "CAL-020")
    assert row["verdict"] == "fail"


def test_an_unknown_choice_ends_the_run(
    quantcheck: Any, script: Any, as_spec: Any, tmp_path: Path
) -> None:
    command = as_spec(script(OTHERWISE.format(choices=["CAL-995"], change="pass")))
    made, printed = ended(quantcheck, tmp_path, command, code=3)
    assert made["aborted"]["kind"] == "TargetProtocolError"
    assert "'CAL-995'" in printed


def test_a_law_judges_what_both_answers_owe(cases: Cases) -> None:
    """A law compares answers; a choice that both make alike is no failure of it."""
    (sample, *_) = draw(load(["hes"])["prop-hes-split"], Draws(factor=0.1))
    assert sample.law is not None
    answers = [right(case) for case in sample.cases]
    found, _ = judge_law(sample.cases, answers, sample.law, unit_roundoff=U32)
    assert {j.verdict for j in found} == {Verdict.PASS}


@pytest.mark.parametrize("given", ["all", ["CAL-040"], None])
def test_an_object_declares_its_choices(
    quantcheck: Any, tmp_path: Path, given: str | list[str] | None
) -> None:
    lines = ["def answer(question):", "    return {'unsupported': 'not yet'}"]
    lines += [f"answer.choices = {given!r}"] if given else []
    (tmp_path / "mine.py").write_text("\n".join(lines), encoding="utf-8")
    done = quantcheck("python:mine:answer", "--section", "pack", "--json", "json")
    assert done.returncode == 4, done.stdout + done.stderr  # nothing was answered
    (made,) = json.loads((tmp_path / "json").read_text("utf-8"))["reports"]
    assert made["target"]["choices"] == {"all": ["all"]}.get(str(given), given or [])
