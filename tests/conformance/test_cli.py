"""The command as a process: output, files and exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from quantcheck import mutants
from quantcheck.report.document import schema
from quantcheck.wire.cases import Case

KINDS = ("json", "html", "junit", "badge")


@pytest.fixture
def pack(cases: dict[str, Case]) -> list[str]:
    """Ids of all cases of one small section."""
    return [case.id for case in cases.values() if case.section == "pack"]


def report_of(path: Path) -> dict[str, Any]:
    """Read the report of a single target, and hold it against the schema."""
    document = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(document, schema())
    (made,) = document["reports"]
    assert document["exit_code"] == made["exit_code"]
    return dict(made)


@pytest.mark.everything
@pytest.mark.requirement("VER-030", "VER-100")
def test_reference_passes_everything(
    quantcheck: Any, tmp_path: Path, cases: dict[str, Case]
) -> None:
    done = quantcheck("reference", "--json", "report.json")
    assert done.returncode == 0, done.stdout + done.stderr
    made = report_of(tmp_path / "report.json")
    assert made["complete"]
    assert made["asked"] == len(cases) + made["examples"]["properties"]
    assert made["corpus"] > len(cases)  # the others are asked with --large alone
    assert made["corpus"] > 0 < made["examples"]["properties"]
    verdicts = {r["verdict"] for r in made["requirements"]}
    assert verdicts <= {"pass", "not covered"}
    assert {c["section"] for c in made["canaries"]} == {c["section"] for c in made["cases"]}
    assert done.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.requirement("VER-100")
def test_mutant_fails(quantcheck: Any, tmp_path: Path) -> None:
    mutant = next(m for m in mutants.MUTANTS if "pack" in m.sections)
    arguments = (f"mutant:{mutant.id}", "--section", "pack", "--json", "report.json")
    done = quantcheck(*arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "fail" in done.stdout
    assert any(r["verdict"] == "fail" for r in report_of(tmp_path / "report.json")["requirements"])


def test_one_section(quantcheck: Any, tmp_path: Path) -> None:
    done = quantcheck("reference", "--section", "pack", "--json", "report.json")
    assert done.returncode == 0
    assert {c["section"] for c in report_of(tmp_path / "report.json")["cases"]} == {"pack"}
    assert "section pack" in done.stdout


@pytest.mark.requirement("VER-100")
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("reference", "--section", "nonsense"),
        ("reference", "--time-limit", "0"),
        ("reference", "--vectors", "absent"),
        ("reference", "--deviations", "absent.json"),
        ("reference", "--json", "absent/report.json"),
        ("reference", "--json", "."),
        ("reference", "reference", "--write-deviations", "d.json"),
    ],
)
def test_usage(quantcheck: Any, arguments: tuple[str, ...]) -> None:
    done = quantcheck(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_list_targets(quantcheck: Any) -> None:
    done = quantcheck("--list-targets")
    assert done.returncode == 0
    assert "keras:jax" in done.stdout


@pytest.mark.requirement("VER-100")
def test_crashing_target(quantcheck: Any, script: Any, as_spec: Any, tmp_path: Path) -> None:
    words = "print('last words', file=sys.stderr, flush=True)"
    spec = as_spec(script(f"for q in questions(): {words}; os._exit(5)"))
    done = quantcheck(spec, "--section", "pack", "--json", "report.json")
    assert done.returncode == 3
    assert "code 5" in done.stdout
    assert "last words" in done.stdout
    assert report_of(tmp_path / "report.json")["cases"][0]["verdict"] == "error"


def test_target_that_never_starts(quantcheck: Any, tmp_path: Path) -> None:
    done = quantcheck("process:false", "--section", "pack", "--json", "report.json")
    assert done.returncode == 3
    assert "handshake" in done.stdout
    assert report_of(tmp_path / "report.json")["aborted"]["kind"] == "TargetCrashed"


@pytest.mark.requirement("VER-100")
def test_target_that_has_nothing_proves_nothing(quantcheck: Any, script: Any, as_spec: Any) -> None:
    body = 'for q in questions(): send({"id": q["id"], "unsupported": "not yet"})'
    done = quantcheck(as_spec(script(body)), "--section", "pack")
    assert done.returncode == 4
    assert "unsupported" in done.stdout


@pytest.mark.requirement("VER-030")
@pytest.mark.parametrize("damage", ["remove", "edit", "unlist"])
def test_shrunken_or_damaged_corpus(
    quantcheck: Any, corpus: Any, pack: list[str], damage: str
) -> None:
    root = corpus(pack)
    victim = min(root.glob("pack/*.json"))
    if damage == "remove":
        victim.unlink()
    elif damage == "edit":
        victim.write_text(victim.read_text().replace("1", "2", 1), encoding="utf-8")
    else:
        (root / "MANIFEST.json").write_text('{"files": {}}', encoding="utf-8")
    done = quantcheck("reference", "--vectors", str(root))
    assert done.returncode == 4, done.stdout
    assert "CorpusError" in done.stdout


@pytest.mark.requirement("VER-030")
def test_corpus_that_catches_nothing(
    quantcheck: Any, corpus: Any, cases: dict[str, Case], tmp_path: Path
) -> None:
    tame = [c.id for c in cases.values() if c.section == "pack" and not c.kills]
    if not tame:
        pytest.skip("every case of the section detects a mutant")
    done = quantcheck("reference", "--vectors", str(corpus(tame)))
    assert done.returncode == 4
    assert "CanaryError" in done.stdout


@pytest.mark.everything
@pytest.mark.requirement("VER-120", "VER-100")
def test_deviations_written_then_known_then_stale(quantcheck: Any, tmp_path: Path) -> None:
    spec, section = "mutant:aff-raw-range", ("--section", "aff")
    done = quantcheck(spec, *section, "--write-deviations", "d.json")
    assert done.returncode == 1
    assert "unexplained failures: 0" in done.stdout
    done = quantcheck(spec, *section, "--deviations", "d.json")
    assert done.returncode == 0, done.stdout
    assert "known deviation" in done.stdout
    assert "To be explained" in done.stdout

    data = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))
    data |= {"target": "quantref", "version": _version_of_reference(quantcheck, tmp_path)}
    data["deviations"] = [{**e, "backends": ["numpy"]} for e in data["deviations"]]
    (tmp_path / "d.json").write_text(json.dumps(data), encoding="utf-8")
    done = quantcheck("reference", *section, "--deviations", "d.json")
    assert done.returncode == 1, done.stdout
    assert "remove it" in done.stdout

    data["deviations"][0]["cause"] = {"name": "no-such-cause"}
    (tmp_path / "d.json").write_text(json.dumps(data), encoding="utf-8")
    done = quantcheck("reference", *section, "--deviations", "d.json")
    assert done.returncode == 1
    assert "DeviationError" in done.stdout


def _version_of_reference(quantcheck: Any, tmp_path: Path) -> str:
    quantcheck("reference", "--section", "rnd", "--json", "version.json")
    return str(report_of(tmp_path / "version.json")["target"]["version"])


@pytest.mark.requirement("VER-100")
@pytest.mark.skipif(os.name == "nt", reason="needs a process group")
def test_stopped_by_the_keyboard(stopped: Any, script: Any, as_spec: Any, tmp_path: Path) -> None:
    body = """
for n, q in enumerate(questions()):
    if n == 2: time.sleep(60)
    send({"id": q["id"], "unsupported": "not yet"})
"""
    files = [word for kind in KINDS for word in (f"--{kind}", f"report.{kind}")]
    code, shown = stopped(
        *(as_spec(script(body)), "reference", "--section", "pack", *files),
        when="case 1 of",
        stop=lambda process: os.killpg(process.pid, signal.SIGINT),
    )
    assert code == 130, shown
    made = report_of(tmp_path / "report.json")
    assert 0 < made["asked"] < made["selected"]
    assert not made["complete"]
    assert "stopped" in shown
    told = {kind: (tmp_path / f"report.{kind}").read_text("utf-8") for kind in KINDS}
    assert json.loads(told["json"])["not_run"] == ["reference"]
    assert "not asked: the run was stopped earlier" in told["html"]
    assert "stopped before this target was asked" in told["junit"]
    assert "stopped" in told["badge"]


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
@pytest.mark.requirement("VER-040", "VER-100")
def test_stopped_twice_it_ends_at_once(
    stopped: Any, script: Any, as_spec: Any, tmp_path: Path, ended: Any
) -> None:
    """The first Ctrl-C waits a moment for the target to end, the second one does not."""
    note = tmp_path / "pids"
    body = f"""
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
open({str(note)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
for q in questions(): time.sleep(300)
"""
    second: list[float] = []

    def stop(process: Any) -> None:
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        second.append(time.monotonic())

    words = (as_spec(script(body)), "reference", "--section", "pack", "--json", "report.json")
    code, shown = stopped(*words, when="is ready", stop=stop)
    assert time.monotonic() - second[0] < 1.5
    assert code == 130, shown
    assert "stopped without a report" in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "report.json").exists()
    assert all(ended(int(pid)) for pid in note.read_text(encoding="utf-8").split())


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
def test_on_a_terminal(tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "quantcheck", "reference", "--section", "pack"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = bytearray()
    with contextlib.suppress(OSError):  # the end of a terminal, on Linux
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    code = process.wait(60)
    text = shown.decode("utf-8", "replace")
    assert code == 0, text
    assert "PACK-010" in text
    assert "Traceback" not in text


def test_pytest_settings_of_a_user_do_not_affect_the_suite(quantcheck: Any, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --nonsense\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text("raise RuntimeError", encoding="utf-8")
    assert quantcheck("reference", "--section", "pack").returncode == 0
