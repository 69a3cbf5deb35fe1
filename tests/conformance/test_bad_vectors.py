"""Damaged and foreign vector files are refused; the message names file and field."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantcheck.spec.places import directory
from quantcheck.wire import cases as vectors
from quantref.errors import DamagedVectorError

pytestmark = pytest.mark.requirement("VEC-010")

NAME = "pack/pack-int3.json"
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus of two cases, whole."""
    folder = tmp_path / "vectors"
    files = {}
    for name in (NAME, "rnd/rnd-near-ties.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = (directory() / name).read_bytes()
        (folder / name).write_bytes(data)
        files[name] = hashlib.sha256(data).hexdigest()
    (folder / "MANIFEST.json").write_text(json.dumps({"files": files}), encoding="utf-8")
    assert len(vectors.load_all(folder)) == 2
    return folder


def rewrite(corpus: Path, text: str | bytes) -> Path:
    """Put a text in the place of a case, manifest included: the file alone has to tell."""
    file = corpus / NAME
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    manifest = json.loads((corpus / "MANIFEST.json").read_text("utf-8"))
    manifest["files"][NAME] = hashlib.sha256(file.read_bytes()).hexdigest()
    (corpus / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
    return file


def changed(corpus: Path, change: Change, *, rehash: bool) -> str:
    """Return the text of a case with a change made, with a hash that fits or the old one."""
    data: dict[str, Any] = json.loads((corpus / NAME).read_text("utf-8"))
    change(data)
    if rehash:
        body = {key: value for key, value in data.items() if key != "header"}
        data["header"]["sha256"] = vectors.content_hash(body)
    return json.dumps(data)


def refused(file: Path, corpus: Path) -> DamagedVectorError:
    with pytest.raises(DamagedVectorError) as alone:
        vectors.load(file)
    with pytest.raises(DamagedVectorError) as among:
        vectors.load_all(corpus)
    assert str(alone.value) == str(among.value)
    assert file.name in alone.value.expected
    assert alone.value.requirement.startswith("VEC-")
    return alone.value


@pytest.mark.parametrize("keep", [0, 1, 40, -2, -30])
def test_truncated(corpus: Path, keep: int) -> None:
    text = (corpus / NAME).read_text("utf-8")
    error = refused(rewrite(corpus, text[:keep]), corpus)
    assert "JSON" in error.expected


@pytest.mark.parametrize(
    "data",
    [pickle.dumps({"codes": [1, 2]}), b"\x80\x04\x95", b"\xff\xfe\x00\x01", b"PK\x03\x04"],
    ids=["pickle", "start of a pickle", "UTF-16", "zip"],
)
def test_foreign_files(corpus: Path, data: bytes) -> None:
    error = refused(rewrite(corpus, data), corpus)
    assert "JSON" in error.expected or "text" in error.expected


@pytest.mark.parametrize("text", ["[]", "3", '"case"', "null", "{}"])
def test_json_that_is_no_case(corpus: Path, text: str) -> None:
    refused(rewrite(corpus, text), corpus)


@pytest.mark.parametrize("field", vectors.FIELDS)
def test_a_missing_field_is_named(corpus: Path, field: str) -> None:
    text = changed(corpus, lambda data: data.pop(field), rehash=False)
    assert field in str(refused(rewrite(corpus, text), corpus))


def test_an_unknown_field_is_named(corpus: Path) -> None:
    text = changed(corpus, lambda data: data.update(comment="hello"), rehash=True)
    assert "comment" in str(refused(rewrite(corpus, text), corpus))


@pytest.mark.requirement("VEC-030")
def test_a_wrong_hash(corpus: Path) -> None:
    text = changed(corpus, lambda data: data.update(title="Another"), rehash=False)
    error = refused(rewrite(corpus, text), corpus)
    assert "header.sha256" in error.expected
    assert error.requirement == "VEC-030"


@pytest.mark.parametrize("value", [0, 2, "1", None])
def test_another_format(corpus: Path, value: Any) -> None:
    text = changed(corpus, lambda data: data["header"].update(format=value), rehash=False)
    assert "header.format 1" in refused(rewrite(corpus, text), corpus).expected


def codes(**changes: Any) -> Change:
    return lambda data: data["inputs"]["codes"].update(changes)


FULL = list(range(8))
DAMAGE: list[tuple[Change, str, str]] = [
    (lambda data: data.update(id="pack-int4"), "pack/pack-int3", "pack/pack-int4"),
    (lambda data: data.update(section="rnd"), "pack/pack-int3", "rnd/pack-int3"),
    (lambda data: data.update(title=3), "title a string", "3"),
    (lambda data: data.update(operation=None), "operation a string", "None"),
    (lambda data: data.update(requirements="PACK-060"), "requirements strings", "PACK-060"),
    (lambda data: data.update(kills=[1]), "kills strings", "[1]"),
    (lambda data: data.update(parameters=[]), "parameters an object", "[]"),
    (lambda data: data.update(inputs=None), "inputs an object", "None"),
    (codes(dtype="uint7"), "inputs.codes: dtype in float16", "'uint7'"),
    (codes(dtype=["uint8"]), "inputs.codes", "uint8"),
    (codes(dtype=None), "inputs.codes", "None"),
    (codes(data=[*FULL[:7], 256]), "inputs.codes: values of uint8", "256"),
    (codes(data=[*FULL[:7], -1]), "inputs.codes: values of uint8", "-1"),
    (codes(data=[*FULL[:7], 1.5]), "inputs.codes: values of uint8", "1.5"),
    (codes(data=[*FULL[:7], "NaN"]), "inputs.codes: values of uint8", "NaN"),
    (codes(data=[*FULL[:7], True]), "inputs.codes: values of uint8", "True"),
    (codes(data=[*FULL[:7], None]), "inputs.codes: values of uint8", "None"),
    (codes(data=[*FULL[:7], [7]]), "inputs.codes: values of uint8", "[7]"),
    (codes(dtype="float32", data=[*FULL[:7], "nan"]), "values of float32", "nan"),
    (codes(dtype="float32", data=[*FULL[:7], [7]]), "values of float32", "[7]"),
    (codes(dtype="float16", data=[*FULL[:7], 1e6]), "values of float16", "1000000.0"),
    (codes(data=FULL[:7]), "inputs.codes: as many values as the shape has", "7 values"),
    (codes(shape=[-8]), "inputs.codes: as many values", "[-8]"),
    (codes(shape=[True, 8]), "inputs.codes: as many values", "[True, 8]"),
    (codes(shape=8), "inputs.codes: as many values", "8"),
    (codes(data="01234567"), "inputs.codes: as many values", "0 values"),
]


@pytest.mark.parametrize(("change", "expected", "got"), DAMAGE, ids=[d[1] + d[2] for d in DAMAGE])
def test_damage_that_the_hash_does_not_tell(
    corpus: Path, change: Change, expected: str, got: str
) -> None:
    error = refused(rewrite(corpus, changed(corpus, change, rehash=True)), corpus)
    assert expected in error.expected
    assert got in error.got


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_bare_words_are_no_json(corpus: Path, word: str) -> None:
    text = (corpus / NAME).read_text("utf-8").replace("[0, 1,", f"[{word}, 1,", 1)
    error = refused(rewrite(corpus, text), corpus)
    assert f"{word} is not JSON" in error.got


@pytest.mark.requirement("VEC-040")
def test_a_file_more(corpus: Path) -> None:
    shutil.copy(corpus / NAME, corpus / "pack" / "pack-copy.json")
    with pytest.raises(DamagedVectorError, match=r"pack/pack-copy\.json"):
        vectors.load_all(corpus)


@pytest.mark.requirement("VEC-040")
def test_a_file_fewer(corpus: Path) -> None:
    (corpus / NAME).unlink()
    with pytest.raises(DamagedVectorError, match=NAME):
        vectors.load_all(corpus)


@pytest.mark.requirement("VEC-040")
def test_other_bytes(corpus: Path) -> None:
    with (corpus / NAME).open("a") as file:
        file.write("\n")
    with pytest.raises(DamagedVectorError, match=f"{NAME} with SHA-256"):
        vectors.load_all(corpus)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"files": 3}', '{"files": ["a"]}'])
def test_a_damaged_manifest(corpus: Path, text: str | None) -> None:
    if text is None:
        (corpus / "MANIFEST.json").unlink()
    else:
        (corpus / "MANIFEST.json").write_text(text, encoding="utf-8")
    with pytest.raises(DamagedVectorError, match=r"MANIFEST\.json"):
        vectors.load_all(corpus)


def test_a_renamed_file(corpus: Path) -> None:
    other = corpus / "pack" / "pack-other.json"
    (corpus / NAME).rename(other)
    with pytest.raises(DamagedVectorError, match=r"pack-other\.json.*pack-int3"):
        vectors.load(other)
    with pytest.raises(DamagedVectorError, match=r"pack-gone\.json"):
        vectors.load(corpus / "pack" / "pack-gone.json")
