"""The vectors are complete, canonical, valid under their schema, and equal to regenerated ones."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from tests.reference.problems import cases

from quantcheck import corpus
from quantcheck.corpus import generate
from quantcheck.spec.places import directory
from quantcheck.spec.sections import SECTIONS
from quantcheck.targets.reference.operations import OPERATIONS
from quantcheck.wire import cases as vectors
from quantcheck.wire.arrays import DTYPES, decode, dtype_of, encode
from quantcheck.wire.cases import Case
from quantref import SPEC_VERSION, __version__, errors
from quantref.errors import QuantrefError
from quantref.inputs import Array

FILES = sorted(directory().glob("*/*.json"))


def arrays(value: Any) -> list[Array]:
    """Return every array inside dicts and lists."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        return [array for item in value.values() for array in arrays(item)]
    if isinstance(value, list):
        return [array for item in value for array in arrays(item)]
    return []


def test_there_are_enough() -> None:
    assert len(cases()) >= 150
    assert {case.section for case in cases()} == set(SECTIONS)
    assert {case.operation for case in cases()} == set(OPERATIONS)
    assert not [i for i, count in Counter(case.id for case in cases()).items() if count > 1]
    assert [f"{case.section}/{case.id}.json" for case in cases()] == [
        file.relative_to(directory()).as_posix() for file in FILES
    ]


@pytest.mark.requirement("VEC-040")
def test_manifest() -> None:
    manifest = json.loads((directory() / "MANIFEST.json").read_text("utf-8"))
    assert manifest["cases"] == len(manifest["files"]) == len(FILES)
    assert (manifest["format"], manifest["spec"]) == (vectors.FORMAT, SPEC_VERSION)
    assert manifest["generator"] == __version__


def test_size() -> None:
    files = [file for file in directory().rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 10e6


@pytest.mark.requirement("VEC-020", "VEC-030")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_texts_are_canonical(file: Path) -> None:
    text = file.read_bytes().decode()
    case = vectors.parse(text, file.name)
    assert vectors.dump(case, generator=__version__, spec=SPEC_VERSION) == text
    assert not any(np.isnan(a).any() for a in arrays([case.expected, case.judging])
                   if a.dtype.kind == "f")  # fmt: skip


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads((directory() / "schema.json").read_text("utf-8"))
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


@pytest.mark.requirement("VEC-010")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_files_are_as_the_schema_says(file: Path, validator: Any) -> None:
    assert not list(validator.iter_errors(json.loads(file.read_text("utf-8"))))


@pytest.mark.parametrize("field", vectors.FIELDS)
def test_the_schema_rejects_damaged_cases(field: str, validator: Any) -> None:
    data = json.loads(FILES[0].read_text("utf-8"))
    assert validator.is_valid(data)
    del data[field]
    assert not validator.is_valid(data)
    assert not validator.is_valid({**data, field: 3})


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
def test_refusals_name_an_error_of_ours(case: Case) -> None:
    if "refused" in case.expected:
        assert issubclass(getattr(errors, case.expected["refused"]), QuantrefError)
    else:
        certified = case.by_recipe or case.operation.endswith("_calibrated")
        assert set(case.expected) == {"forms" if certified else "outputs"}
    assert case.title
    assert not case.title.endswith(".")


@pytest.mark.requirement("VEC-050")
def test_a_disagreement_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expected value off by one is refused before anything is written."""
    (case,) = (case for case in cases("rnd") if case.id == "rnd-near-ties")
    wrong = {"outputs": {"values": case.expected["outputs"]["values"] + 1}}
    bad = replace(case, expected=wrong)
    monkeypatch.setattr(corpus, "cases", lambda _section: iter([bad]))
    with pytest.raises(generate.DisagreementError, match="rnd-near-ties to pass"):
        generate.build("rnd")
    monkeypatch.setattr(corpus, "cases", lambda _section: iter([case, case]))
    with pytest.raises(generate.DisagreementError, match="ids that occur once"):
        generate.build("rnd")


@pytest.mark.requirement("VEC-020")
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_survive_the_wire(dtype: str) -> None:
    kind = dtype_of(dtype)
    if kind.kind in "iu":
        info = np.iinfo(kind)
        array = np.array([[info.min, 0, info.max]], kind)
    else:
        values = [0.1, -0.0, 2.0**-14, np.inf, -np.inf, np.nan]
        array = np.array(values).astype(kind).reshape(2, 3)
    text = json.dumps(encode(array), allow_nan=False)
    again = decode(json.loads(text))
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()
    empty = decode(encode(np.zeros((0, 3), kind)))
    assert empty.shape == (0, 3)
