"""Reports: the matrix on the terminal, the document, and how files are written."""

from __future__ import annotations

import copy
import hashlib
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.cells import cell_len
from rich.console import Console

from quantcheck.deviations import DIRECTORY
from quantcheck.errors import UsageError
from quantcheck.judge.verdict import Verdict
from quantcheck.report import files, print_matrix, print_report
from quantcheck.report.document import by_id, merged, schema, worst_verdicts
from quantcheck.report.looks import BLAME, LOOKS, VERDICTS
from quantcheck.report.provenance import of_deviations
from quantcheck.spec.places import directory, spec_path
from quantref.formats.files import write_text

Document = dict[str, Any]


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def drawn(reports: list[Document], width: int, encoding: str = "utf-8") -> list[str]:
    """Lines of the matrix on a terminal of this width and encoding."""
    raw = io.BytesIO()
    console = Console(width=width, file=io.TextIOWrapper(raw, encoding, errors="replace"))
    print_matrix(console, reports)
    console.file.flush()
    return raw.getvalue().decode(encoding).split("\n")


def with_specs(document: Document, specs: list[str]) -> list[Document]:
    """As many reports as specs, each with one of them."""
    reports = [copy.deepcopy(document["reports"][n % 2]) for n in range(len(specs))]
    for made, spec in zip(reports, specs, strict=True):
        made["target"]["spec"] = spec
    return reports


KERAS = [f"keras:{name}" for name in ("jax", "tensorflow", "torch", "numpy", "openvino")]


# On the terminal


def test_several_targets_give_one_matrix(several: Path) -> None:
    printed = (several / "printed").read_text("utf-8")
    assert printed.count("requirements × targets") == 1
    assert "text" in printed
    assert "observed ÷ bound" not in printed, "a table of one target, beside the matrix"
    assert "report: report.json" in printed
    lines = printed[printed.index("requirements ×") :].split("\n")
    (row,) = (line for line in lines if line.startswith("│ GPTQ-060"))
    assert re.search(r"✓ pass +│ ✗ fail \d+ +│$", row)
    ends = [line for line in lines if re.match(r"\d \w+.*\(exit \d\)", line)]
    assert [re.sub(r":.*exit (\d)\)", r" \1", line) for line in ends[:1]] == ["1 reference 0"]
    assert ends[1].startswith("2 mutant:")
    assert ends[1].endswith("(exit 1)")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("count", [2, 5, 12])
def test_the_matrix_is_no_wider_than_the_terminal(
    document: Document, width: int, count: int
) -> None:
    specs = [*KERAS, "process:node /a/long/path/to/quantizer.js --with options"] * 2
    lines = drawn(with_specs(document, specs[:count]), width)
    table = [line for line in lines if line.startswith(("│", "┃", "┏", "└"))]
    assert table
    assert max(map(cell_len, table)) <= width
    assert len({cell_len(line) for line in table}) == 1
    for number in range(count):
        assert any(re.match(rf"{number + 1} {re.escape(specs[number][:20])}", x) for x in lines)


def test_five_backends_keep_their_names_at_80_columns(document: Document) -> None:
    text = "\n".join(drawn(with_specs(document, KERAS), 80))
    for name in ("tensorflow", "openvino", "torch", "✓ pass", "✗ fail"):
        assert name in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_of_one_target(document: Document, width: int) -> None:
    file = io.StringIO()
    print_report(Console(width=width, file=file), document["reports"][1])
    lines = file.getvalue().split("\n")
    table = [line for line in lines if line.startswith(("│", "┃", "┏", "└", "├"))]
    assert {cell_len(line) for line in table} == {cell_len(table[0])}
    assert cell_len(table[0]) <= width
    assert ("text" in "".join(table)) == (width == 120)
    rows = [line for line in table if re.match(r"│ [A-Z]+-\d", line)]
    assert any(" fail " in row for row in rows)


def test_the_smallest_examples_are_printed_as_vectors(document: Document) -> None:
    made = document["reports"][1]
    failing = [row["worst"]["case"] for row in made["requirements"] if row["verdict"] == "fail"]
    broken = [case for case in made["cases"] if case["case"] in failing]
    for case in broken:
        case["vectors"] = [f'{{"id": "found-{case["case"]}"}}\n']
    file = io.StringIO()
    print_report(Console(width=80, file=file), made)
    for case in broken[:3]:
        assert f'\n{{"id": "found-{case["case"]}"}}\n' in file.getvalue()
    file = io.StringIO()
    print_report(Console(width=80, file=file), made, alone=False)
    assert "as a vector" not in file.getvalue()


def test_no_verdict_is_told_by_colour_alone(document: Document) -> None:
    assert set(LOOKS) == set(VERDICTS) == set(BLAME) == set(Verdict)
    assert len({look.symbol for look in LOOKS.values()}) == len(LOOKS)
    assert len({look.letter for look in LOOKS.values()}) == len(LOOKS)
    plain = drawn(document["reports"], 80, encoding="ascii")
    assert any(re.search(r"P pass +\| F fail \d+", line) for line in plain)


def test_a_terminal_without_our_signs(run_quantcheck: Any, tmp_path: Path) -> None:
    arguments = ("reference", "reference", "--section", "rnd")
    ended = run_quantcheck(tmp_path, *arguments, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ended.returncode == 0, ended.stderr
    assert "P pass" in ended.stdout


def test_names_are_no_markup(document: Document) -> None:
    reports = document["reports"]
    for made in reports:
        made["target"]["spec"] = "process:[bold]x[/bold] [/]"
        for row in made["requirements"]:
            if row["worst"]:
                row["worst"]["message"] = "[red]shown as it is[/]"
    assert "process:[bold]x[/bold] [/]:" in "\n".join(drawn(reports, 120))
    file = io.StringIO()
    print_report(Console(width=120, file=file), reports[1])
    assert "[red]shown as it is[/]" in file.getvalue()


# The document


def test_the_document_follows_its_schema(document: Document) -> None:
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema())
    assert not list(validator(schema()).iter_errors(document))
    document["run"]["surprise"] = 1
    assert list(validator(schema()).iter_errors(document))


def test_the_schema_knows_the_verdicts() -> None:
    assert set(schema()["$defs"]["verdict"]["enum"]) == set(Verdict)


def test_the_document_says_what_it_was_made_of(document: Document) -> None:
    run = document["run"]
    assert run["sections"] == ["abs", "gptq"]
    assert run["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    manifest, spec = directory() / "MANIFEST.json", spec_path()
    assert run["corpus"]["sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert run["specification"]["sha256"] == hashlib.sha256(spec.read_bytes()).hexdigest()
    assert 0 < sum(made["seconds"] for made in document["reports"]) <= run["seconds"]
    for path in DIRECTORY.glob("keras-*.json"):
        known = of_deviations(path)
        assert known == {
            "name": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }


def test_paragraphs_come_whole(document: Document) -> None:
    rows = [row["requirement"] for made in document["reports"] for row in made["requirements"]]
    assert all(row["paragraph"].startswith(row["text"]) for row in rows)
    assert any(len(row["paragraph"]) > len(row["text"]) for row in rows)


def test_one_row_per_requirement_that_a_target_judged(document: Document) -> None:
    reports = document["reports"]
    sections = {id_.partition("-")[0] for id_ in by_id(reports)}
    assert {"GPTQ", "ABS"} <= sections
    assert "PACK" not in sections
    worst = worst_verdicts(reports)
    assert worst["GPTQ-060"] == "fail"
    assert set(worst.values()) <= {"pass", "fail", "not judged"}


def test_nothing_was_run() -> None:
    made = merged([], run={}, not_run=["reference"])
    assert (made["exit_code"], made["not_run"]) == (130, ["reference"])


# Files


def test_files_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "report"
    write_text(path, "one\n")
    assert path.read_bytes() == b"one\n"
    write_text(path, "two × two\n")
    assert path.read_bytes().decode() == "two × two\n"
    assert names(tmp_path) == ["report"]


@pytest.mark.skipif(os.name == "nt", reason="rights and links as on POSIX")
def test_rights_and_links_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "report"
    write_text(path, "one")
    new = tmp_path / "any"
    new.touch()
    assert path.stat().st_mode == new.stat().st_mode
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    write_text(link, "two")
    assert link.is_symlink()
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name == "nt", reason="needs /dev/null")
def test_a_device_is_written_to_and_not_replaced() -> None:
    before = Path(os.devnull).stat().st_rdev
    files.check(os.devnull)
    write_text(Path(os.devnull), "text")
    assert Path(os.devnull).stat().st_rdev == before


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "absent" / "x", tmp_path / "file" / "x"):
        with pytest.raises(UsageError):
            files.check(str(path))
    assert names(tmp_path) == ["file"]


def test_one_file_for_two_reports(quantcheck: Any) -> None:
    ended = quantcheck("reference", "--json", "a.json", "--write-deviations", "./a.json")
    assert ended.returncode == 2
    assert "twice" in ended.stderr
