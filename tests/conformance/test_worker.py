"""The loop that serves every target in Python: what each line is answered with.  [VER-060]"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from quantcheck.targets.reference import operations
from quantcheck.wire import lines
from quantcheck.wire import schema as wire
from quantcheck.wire.cases import Case

X = {"dtype": "float32", "shape": [1], "data": [0.5]}
CODES = {"dtype": "int8", "shape": [1], "data": [1]}
ROUND = {"id": "r", "operation": "round_half_even", "parameters": {}, "inputs": {"x": X}}
PACK = {"id": "p", "operation": "pack", "parameters": {"bits": 4, "axis": 0}}
PACK = {**PACK, "inputs": {"codes": CODES}}


def served(module: str, *texts: str | bytes) -> list[dict[str, Any]]:
    """What a target answers to lines and then to a question; it has to go on to the end."""
    sent = b"\n".join(t.encode() if isinstance(t, str) else t for t in (*texts, json.dumps(ROUND)))
    done = subprocess.run(
        [sys.executable, "-m", *module.split()], input=sent + b"\n", capture_output=True, check=True
    )
    *answers, last = map(json.loads, done.stdout.splitlines())
    assert last["id"] == "r", last
    assert last["outputs"]["values"]["data"] == [0.0]
    return answers


NO_QUESTIONS: list[tuple[str | bytes, str | None]] = [
    ("nonsense", None),
    ("", None),
    ("   ", None),
    (b"\xff\xfe", None),
    ('{"id": "a"', None),
    ("[" * 100_000, None),
    ('{"id": "a", "operation": NaN}', None),
    ("[1]", None),
    ("null", None),
    ('"stop"', None),
    ("{}", None),
    ('{"start": 1}', None),
    ('{"stop": 1}', None),
    (json.dumps({**ROUND, "id": 5}), None),
    (json.dumps({**ROUND, "id": None}), None),
    (json.dumps({**ROUND, "id": ""}), ""),
    (json.dumps({"id": "b"}), "b"),
    (json.dumps({**ROUND, "id": "c", "operation": 1}), "c"),
    (json.dumps({**ROUND, "id": "d", "inputs": []}), "d"),
    (json.dumps({**ROUND, "id": "e", "inputs": {}}), "e"),
    (json.dumps({**PACK, "id": "f", "parameters": {"bits": 4}}), "f"),
]


@pytest.mark.requirement("VER-060")
@pytest.mark.parametrize(
    "module",
    [
        "quantcheck.targets.reference",
        "quantcheck.targets.mutants pack-high-first",
        "quantcheck.targets.variants float64-ldl",
        "quantcheck.targets.python quantcheck.targets.reference.operations:answer",
    ],
)
def test_lines_that_are_no_question(module: str) -> None:
    answers = served(module, *(line for line, _ in NO_QUESTIONS))
    assert [answer["id"] for answer in answers] == [identity for _, identity in NO_QUESTIONS]
    assert all(set(answer) == {"id", "error"} for answer in answers)
    assert {wire.fault("answer", answer) for answer in answers} == {None}


@pytest.mark.requirement("VER-060")
def test_unknown_names() -> None:
    asked: list[dict[str, Any]] = [
        {**ROUND, "id": "a", "parameters": {"mode": "even"}},
        {**ROUND, "id": "b", "inputs": {"x": X, "y": X}},
        {**ROUND, "id": "c", "operation": "dither"},
        {**ROUND, "id": "d", "more": 1, "stop": {}, "start": {}},
        {**ROUND, "id": "e", "inputs": {"x": {**X, "strides": [1]}}},
    ]
    answers = served("quantcheck.targets.reference", *map(json.dumps, asked))
    kinds = ["unsupported", "unsupported", "unsupported", "outputs", "error"]
    assert [next(k for k in answer if k != "id") for answer in answers] == kinds
    assert "parameters.mode" in answers[0]["unsupported"]
    assert "inputs.y" in answers[1]["unsupported"]


def test_unknown_names_in_blocks() -> None:
    block = {"activations": ["relu"], "residual": False}
    question = {"operation": "quantize_model_int8", "inputs": {}}
    for blocks, unknown in (
        ([block], None),
        ([block, {**block, "gain": 2}], "parameters.blocks.gain"),
        ("no list", None),
        ([5], None),
    ):
        assert lines.unknown_name({**question, "parameters": {"blocks": blocks}}) == unknown


def test_every_vector_is_a_question_of_known_names_and_types(cases: dict[str, Case]) -> None:
    for case in cases.values():
        question = case.question()
        assert lines.why_no_question(question) is None, case.id
        assert lines.unknown_name(question) is None, case.id
        assert lines.wrong_parameter(question) is None, case.id


def of_another_type(value: Any) -> list[Any]:
    """Values of other JSON types than a parameter's."""
    others: list[Any] = ["strange text", 1.5, True, 7, None, [[]], {"a": 1}]
    if isinstance(value, bool):
        others.remove(True)
    if isinstance(value, float) or value is None:
        others = [other for other in others if isinstance(other, str | dict)]
    return [other for other in others if type(other) is not type(value)]


@pytest.mark.requirement("VER-060")
def test_parameters_of_another_type_are_refused(cases: dict[str, Case]) -> None:
    """As the schema tells the types; what it takes is left to the operation."""
    asked = refused = 0
    small = {c.operation: c for c in sorted(cases.values(), key=lambda c: -len(str(c.question())))
             if "outputs" in c.expected}  # fmt: skip
    for case in small.values():
        question = case.question()
        for name, value in question["parameters"].items():
            for other in of_another_type(value):
                changed = {**question, "parameters": {**question["parameters"], name: other}}
                legal = wire.fault("question", changed) is None
                assert (lines.wrong_parameter(changed) is None) == legal, (case.id, name, other)
                asked += 1
                if not legal:
                    refused += 1
                    assert "refused" in operations.answer(changed), (case.id, name, other)
    assert asked > refused > 200


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("config_round_trip", {"class": "GPTQConfig", "arguments": {"weight_bits": "4"}}),
        ("config_round_trip", {"class": "GPTQConfig", "arguments": {"weight_bits": 4.0}}),
        ("config_round_trip", {"class": "GPTQConfig", "arguments": {"symmetric": 1}}),
        ("config_round_trip", {"class": "GPTQConfig", "arguments": {"foo": 1}}),
        ("config_round_trip", {"class": "AbsMaxQuantizer", "arguments": {"epsilon": None}}),
        ("config_round_trip", {"class": "AbsMaxQuantizer", "arguments": {"axis": 0.5}}),
        ("config_round_trip", {"class": "Int8QuantizationConfig",
                               "arguments": {"weight_quantizer": {"class": "AbsMaxQuantizer"}}}),
        ("config_round_trip", {"class": "Int8QuantizationConfig",
                               "arguments": {"weight_quantizer": 5}}),
    ],
)  # fmt: skip
def test_arguments_of_another_type_are_refused(operation: str, parameters: dict[str, Any]) -> None:
    question = {"id": "q", "operation": operation, "parameters": parameters, "inputs": {}}
    assert operations.answer(question)["type"] in ("ConfigError", "DTypeError")


def test_arrays_and_lists_of_arrays_are_not_taken_for_each_other() -> None:
    for operation, inputs in (
        ("round_half_even", {"x": [X]}),
        ("round_half_even", {"x": 5}),
        ("round_half_even", {"x": {"data": [1]}}),
        ("hessian", {"batches": X}),
    ):
        question = {"operation": operation, "parameters": {}, "inputs": inputs}
        with pytest.raises(ValueError, match="VEC-020"):
            lines.decode_inputs(question)
