"""`quantcheck vectors`: showing, listing, writing and checking vectors."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.reference.problems import cases

from quantcheck.corpus import generate
from quantcheck.corpus.command import main
from quantcheck.spec.places import directory
from quantcheck.spec.sections import SECTIONS
from quantcheck.wire import cases as vectors

Output = pytest.CaptureFixture[str]


def test_show(capsys: Output) -> None:
    assert main(["show", "gptq-order-ties"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("gptq-order-ties: tied metrics: ascending index decides the groups\n")
    for line in ("  operation     gptq_quantize", "  damping       1.0", "input weights  float32",
                 "expected codes  uint8 (4, 16)", "margins (codes to the nearest change of code)",
                 "required_float32: ", "kills: "):  # fmt: skip
        assert line in out


def test_show_what_is_refused(capsys: Output) -> None:
    assert main(["show", "cfg-refuse-gptq-bits"]) == 0
    out = capsys.readouterr().out
    assert "expected: refused with ConfigError" in out
    assert "  arguments     {'weight_bits': 5}" in out


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=[pytest.mark.everything] if c.large else []) for c in cases()],
    ids=lambda case: case.id,
)
def test_every_case_can_be_shown(case: vectors.Case, capsys: Output) -> None:
    assert main(["show", case.id]) == 0
    out = capsys.readouterr().out
    assert case.title in out
    assert out.rstrip().splitlines()[-1].startswith("kills: ")


def test_list(capsys: Output) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [case.id for case in cases()]
    for line, case in zip(lines, cases(), strict=True):
        assert case.operation in line
        assert line.endswith(case.title)


@pytest.mark.parametrize(
    ("identity", "hint"),
    [("order-ties", "near: gptq-order-ties"), ("nonsense", "see quantcheck vectors --list")],
)
def test_an_unknown_id(identity: str, hint: str, capsys: Output) -> None:
    assert main(["show", identity]) == 1
    captured = capsys.readouterr()
    assert f"no case {identity!r}" in captured.err
    assert hint in captured.err
    assert not captured.out


@pytest.mark.parametrize(
    "arguments",
    [[], ["show"], ["show", "a", "b"], ["hide", "a"]],
)
def test_usage(arguments: list[str], capsys: Output) -> None:
    assert main(arguments) == 2
    assert "expected --write DIR, --check, --list or show ID" in capsys.readouterr().err


def test_usage_of_the_parser(capsys: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--chekc"])
    assert caught.value.code == 2
    assert "usage: quantcheck vectors" in capsys.readouterr().err


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(directory(), tmp_path / "vectors"))


def lose_a_section(folder: Path) -> str:
    """Leave the folder as a run that is stopped while it moves files into place leaves it."""
    shutil.rmtree(folder / "gptq")
    return "gptq/"


def lose_the_manifest(folder: Path) -> str:
    (folder / "MANIFEST.json").unlink()
    return "MANIFEST.json"


def cut_a_file(folder: Path) -> str:
    file = min((folder / "abs").iterdir())
    file.write_bytes(file.read_bytes()[:-100])
    return file.name


DAMAGE: list[Callable[[Path], str]] = [lose_a_section, lose_the_manifest, cut_a_file]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_noticed(
    damage: Callable[[Path], str], copy: Path, capsys: Output
) -> None:
    assert main(["--list", "--dir", str(copy)]) == 0
    capsys.readouterr()
    name = damage(copy)
    for command in ("--list", "--check"):
        assert main([command, "--dir", str(copy)]) == 1
        captured = capsys.readouterr()
        assert captured.err.startswith("quantcheck: DamagedVectorError: expected ")
        assert name in captured.err
        assert not captured.out


INTERRUPTIBLE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from quantcheck.__main__ import main; sys.exit(main())"
)


def test_interrupted_writing_changes_nothing(copy: Path) -> None:
    """Ctrl-C while the cases are made, long before the first file would be replaced."""
    before = {path: path.read_bytes() for path in copy.rglob("*.json")}
    arguments = [sys.executable, "-P", "-c", INTERRUPTIBLE, "vectors", "--write", str(copy)]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "cases" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "quantcheck: interrupted, nothing was changed\n"
    assert {path: path.read_bytes() for path in copy.rglob("*.json")} == before
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


@pytest.mark.requirement("VEC-070")
def test_everything_is_written_into_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """What is made today are the bytes on disk: `vectors --check`, a command of the README."""
    ours = directory()
    names = [f"{case.section}/{case.id}.json" for case in cases()] + ["MANIFEST.json"]
    texts = {name: (ours / name).read_text("utf-8") for name in names}
    monkeypatch.setattr(generate, "build_all", lambda _progress: dict(texts))
    monkeypatch.setattr(generate, "_agree_on_large", lambda _texts, _progress: None)
    fresh = tmp_path / "new" / "vectors"
    assert main(["--write", str(fresh)]) == 0
    assert f"{len(cases())} cases written to {fresh}" in capsys.readouterr().out
    assert {p.relative_to(fresh).as_posix() for p in fresh.rglob("*.json")} == set(names)
    for name in names:
        assert (fresh / name).read_bytes() == (ours / name).read_bytes(), name
    assert [path.name for path in fresh.parent.iterdir()] == ["vectors"]


@pytest.mark.requirement("VEC-070")
@pytest.mark.parametrize("change", ["other bytes", "one less", "one more"])
def test_a_folder_that_is_not_as_regenerated(
    change: str, copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """A file that agrees with its manifest, but not with regeneration."""
    names = [p.relative_to(copy).as_posix() for p in copy.rglob("*.json") if p.parent != copy]
    texts = {name: (copy / name).read_text(encoding="utf-8") for name in [*names, "MANIFEST.json"]}
    monkeypatch.setattr(generate, "build_all", lambda _progress: dict(texts))
    assert main(["--check", "--dir", str(copy)]) == 0
    assert "all as regenerated" in capsys.readouterr().out
    if change == "other bytes":
        texts[names[3]] += " "
    elif change == "one less":
        texts["abs/new.json"] = "{}"
    else:
        del texts[names[3]]
    assert main(["--check", "--dir", str(copy)]) == 1
    captured = capsys.readouterr()
    assert "DamagedVectorError" in captured.err
    assert ("abs/new.json" if change == "one less" else names[3]) in captured.err


def test_progress_is_told_section_by_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "build", lambda section: {f"{section}/a.json": '{"kills": []}'})
    told: list[str] = []
    with pytest.raises(generate.DisagreementError, match="every mutant killed"):
        generate.build_all(told.append)
    assert told == [f"{section}: 1 cases" for section in SECTIONS]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell's pipes")
def test_a_reader_that_stops_early_ends_it_quietly() -> None:
    command = [sys.executable, "-m", "quantcheck", "vectors", "--list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before anything is written
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
