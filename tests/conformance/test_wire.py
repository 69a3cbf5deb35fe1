"""The protocol's schema agrees with SPEC.md, the vectors and the client."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from quantcheck.errors import TargetProtocolError
from quantcheck.properties import load
from quantcheck.run.draws import draw
from quantcheck.targets import Handshake
from quantcheck.targets.reference import operations
from quantcheck.targets.worker import OPERATIONS
from quantcheck.wire import schema as wire
from quantcheck.wire.cases import Case
from quantcheck.wire.protocol import check_answer
from quantcheck.wire.questions import write_questions

pytestmark = pytest.mark.requirement("VER-060")

ROW = re.compile(r"^\| `(\w+)` \|(.*)\|(.*)\|(.*)\|$", re.MULTILINE)
READY = {"protocol": 1, "name": "small", "version": "1.0"}


def names(cell: str) -> list[str]:
    return [name for name in re.sub(r"\([^)]*\)", "", cell).replace(",", " ").split() if name]


@pytest.fixture(scope="module")
def table(root: Path) -> dict[str, tuple[list[str], ...]]:
    """Return inputs, parameters and outputs of every operation, as SPEC.md has them."""
    section = (root / "SPEC.md").read_text("utf-8").partition("\n## 12 ")[2]
    rows = {name: tuple(map(names, cells)) for name, *cells in ROW.findall(section)}
    assert "gptq_quantize" in rows
    return rows


@pytest.fixture(scope="module")
def smallest(cases: dict[str, Case]) -> dict[str, Case]:
    """Return for each operation the smallest case that has an answer."""
    found: dict[str, Case] = {}
    for case in sorted(cases.values(), key=lambda c: -len(json.dumps(c.question(made=False)))):
        if "outputs" in case.expected:
            found[case.operation] = case
    for sample in draw(load(["cal"])["prop-cal-crossed"]):  # no vector has these operations
        found.setdefault(sample.cases[0].operation, sample.cases[0])
    return found


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(wire.schema())
    named = set(re.findall(r'"#/\$defs/([\w-]+)"', wire.PATH.read_text("utf-8")))
    outputs = {f"{operation}-outputs" for operation in OPERATIONS}
    assert named | outputs == set(wire.schema()["$defs"])


def test_operations_are_those_of_the_specification(table: dict[str, Any]) -> None:
    assert list(table) == list(OPERATIONS)
    definitions = wire.schema()["$defs"]
    for operation, (inputs, parameters, outputs) in table.items():
        question = definitions[f"{operation}-question"]["properties"]
        given = definitions[f"{operation}-outputs"]
        for part, named in (
            (question["inputs"], inputs),
            (question["parameters"], parameters),
            (given, outputs),
        ):
            assert part["required"] == [name for name in named if not name.endswith("?")]
            assert list(part.get("properties", {})) == [name.removesuffix("?") for name in named]


def test_every_question_and_the_answer_of_the_reference(cases: dict[str, Case]) -> None:
    for case in cases.values():
        if case.by_recipe:  # a quarter of a million numbers in the form of all others
            continue
        question = case.question()
        assert wire.fault("question", question) is None, case.id
        answer = json.loads(json.dumps(operations.answer(question)))
        assert wire.fault("answer", answer) is None, case.id
        if "outputs" in answer:
            assert wire.fault(f"{case.operation}-outputs", answer["outputs"]) is None, case.id


def test_every_line_of_a_file_of_questions(smallest: dict[str, Case], tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    write_questions(path, (case.question() for case in smallest.values()))
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    kinds = ["start", *["question"] * len(smallest), "stop"]
    assert [wire.fault(k, line) for k, line in zip(kinds, lines, strict=True)] == [None] * len(
        kinds
    )
    validator = jsonschema.Draft202012Validator(wire.schema())
    assert all(validator.is_valid(line) for line in lines)
    assert not validator.is_valid({"id": "a"})


def without_one(
    thing: dict[str, Any], optional: list[str] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    for key in thing:
        if f"{key}?" not in (optional or []):
            yield key, {k: v for k, v in thing.items() if k != key}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_broken_questions_and_outputs(
    operation: str, smallest: dict[str, Case], table: dict[str, tuple[list[str], ...]]
) -> None:
    question = smallest[operation].question()
    inputs, _, given = table[operation]
    broken = [less for _, less in without_one(question)]
    for part in ("parameters", "inputs"):
        broken += [{**question, part: less} for _, less in without_one(question[part], inputs)]
        broken += [{**question, part: {**question[part], "more": 1}}, {**question, part: []}]
        broken += [{**question, part: {**question[part], name: "?"}} for name in question["inputs"]]
    broken += [{**question, "id": 1}, {**question, "operation": ""}]
    for thing in broken:
        assert wire.fault("question", thing) is not None, thing
    outputs = operations.answer(question)["outputs"]
    for name, less in without_one(outputs, given):
        assert wire.fault(f"{operation}-outputs", less) is not None
        whole = outputs[name]
        damaged = [*whole, 1] if isinstance(whole, list) else {**whole, "dtype": "float"}
        for wrong in (None, [1.0], "text", damaged):
            if operation != "config_round_trip" or not isinstance(wrong, dict):
                assert wire.fault(f"{operation}-outputs", {**outputs, name: wrong}) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "int4"},
        {"dtype": "int8"},
        {"shape": [-2]},
        {"shape": 2},
        {"data": [0.5, "nan"]},
        {"data": [0.5, None]},
        {"data": [0.5, True]},
        {"strides": [1]},
    ],
)
def test_broken_arrays(changes: dict[str, Any]) -> None:
    array = {"dtype": "float32", "shape": [2], "data": [0.5, "NaN"]}
    assert wire.fault("array", array) is None
    assert wire.fault("array", {**array, **changes}) is not None


# The client checks by hand, because it checks every line; both have to say the same.

NO_TEXTS: list[object] = [None, True, 1, {}, ["no"]]
NO_OBJECTS: list[object] = [None, [], "text", 1]
HANDSHAKES: list[object] = [
    READY,
    {**READY, "backend": "node", "precision": "float64", "operations": ["pack"], "versions": {}},
    {**READY, "factor_precision": "float64"},
    {**READY, "compiles": True},
    {**READY, "versions": {"node": "20.1"}, "later": 1},
    *({k: v for k, v in READY.items() if k != key} for key in READY),
    *({**READY, "protocol": value} for value in (0, 2, "1", True, None, 1.0)),
    *({**READY, key: value} for key in ("name", "version") for value in ("", 1, None)),
    *({**READY, "backend": value} for value in (None, 1, "")),
    *({**READY, "precision": value} for value in ("float16", *NO_TEXTS)),
    *({**READY, "factor_precision": v} for v in ("float16", *NO_TEXTS)),
    *({**READY, "compiles": v} for v in ("true", 1, None)),
    {**READY, "choices": ["all", "CAL-040"]},
    *({**READY, "choices": value} for value in ([], [1], *NO_OBJECTS[2:], *NO_TEXTS[:4])),
    *({**READY, "operations": value} for value in ([], [1], *NO_OBJECTS[2:], *NO_TEXTS[:4])),
    *({**READY, "versions": value} for value in ({"node": 20}, *NO_OBJECTS)),
    None,
    1,
    [],
    "ready",
]
ANSWERS: list[dict[str, Any]] = [
    {"id": "a", "outputs": {}},
    {"id": "a", "outputs": {"codes": 1}, "seconds": 3},
    {"id": "a", "refused": "", "type": "ValueError"},
    {"id": "a", "refused": "no", "type": None},
    {"id": "a", "unsupported": "not yet"},
    {"id": "a", "error": "oh", "trace": "line 1"},
    {"id": "a"},
    {"id": 1, "outputs": {}},
    {"outputs": {}},
    {"id": None, "outputs": {}},
    {"id": "a", "outputs": {}, "refused": "no"},
    {"id": "a", "unsupported": "no", "error": "no"},
    *({"id": "a", "outputs": value} for value in NO_OBJECTS),
    *(
        {"id": "a", kind: value}
        for kind in ("refused", "unsupported", "error")
        for value in NO_TEXTS
    ),
    {"ready": READY},
    {},
]


@pytest.mark.parametrize("ready", HANDSHAKES)
def test_the_client_and_the_schema_on_handshakes(ready: object) -> None:
    try:
        Handshake.from_wire(copy.deepcopy(ready))
        accepted = True
    except TargetProtocolError:
        accepted = False
    assert accepted == (wire.fault("handshake", {"ready": ready}) is None)


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_client_and_the_schema_on_answers(answer: dict[str, Any]) -> None:
    try:
        check_answer(answer, "a")
        accepted = True
    except TargetProtocolError:
        accepted = False
    assert accepted == (wire.fault("answer", answer) is None)


def test_both_lists_have_good_and_bad_lines() -> None:
    good = [wire.fault("handshake", {"ready": ready}) is None for ready in HANDSHAKES]
    assert {True, False} == set(good)
    assert {True, False} == {wire.fault("answer", answer) is None for answer in ANSWERS}


@pytest.mark.requirement("VER-060")
@pytest.mark.parametrize("kind", ["error", "refused", "unsupported", "outputs"])
def test_the_id_of_an_error_alone_may_be_null(kind: str) -> None:
    """It answers a line that has no id, which the suite never sends."""
    answer = {"id": None, kind: {} if kind == "outputs" else "no question"}
    assert (wire.fault("answer", answer) is None) == (kind == "error")
    with pytest.raises(TargetProtocolError):
        check_answer(answer, "a")
