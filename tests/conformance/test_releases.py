"""Lines of releases of Keras: which one a version has, and what is said of other installations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantcheck.targets.keras import __main__ as target
from quantcheck.targets.keras import releases
from quantcheck.targets.keras.config import Unsupported
from quantcheck.targets.keras.releases.line import Line
from quantcheck.targets.keras.releases.v3_12 import Keras312
from quantcheck.targets.keras.releases.v3_13 import Keras313
from quantcheck.targets.keras.releases.v3_16 import Keras316
from quantcheck.wire.cases import Case, load_all

CASES = {case.id: case for case in load_all() if case.section in ("aff", "hes", "gptq")}


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("3.12.4", Keras312),
        ("3.13.2", Keras313),
        ("3.14.1", Keras313),
        ("3.15.1", Keras313),
        ("3.16.0.dev2026102704", Keras316),
        ("3.16.0", Keras316),
        ("3.17.0", Keras316),
        ("4.0.1", Keras316),
    ],
)
def test_a_version_has_a_line(version: str, line: type[Line]) -> None:
    assert type(releases.line_for(version)) is line
    assert releases.is_newer(version) == (version in {"3.17.0", "4.0.1"})


def test_a_release_before_gptq() -> None:
    with pytest.raises(Unsupported, match=r"Keras 3\.11\.3 has no GPTQ: Keras 3\.12 is the first"):
        releases.line_for("3.11.3")
    with pytest.raises(SystemExit, match=r"has no GPTQ.*Install keras>=3.12"):
        releases.require_gptq("3.11.3")
    releases.require_gptq("3.12.0")


def install(folder: Path, name: str, version: str) -> None:
    """Put the metadata of a distribution into a folder."""
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_two_distributions_of_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one folder each has overwritten files of the other; in two folders the first counts."""
    install(tmp_path / "one", "keras", "3.15.1")
    install(tmp_path / "one", "keras-nightly", "3.16.0.dev2026102704")
    monkeypatch.syspath_prepend(tmp_path / "one")
    both = r"keras 3.15.1 and keras-nightly 3.16.0.dev2026102704 are both installed"
    with pytest.raises(SystemExit, match=f"{both}.*: uninstall both, then install one"):
        releases.require_one_keras()
    install(tmp_path / "other", "keras", "3.14.1")
    monkeypatch.syspath_prepend(tmp_path / "other")
    releases.require_one_keras()


def answers_of_a_newer_release(
    case: Case, monkeypatch: pytest.MonkeyPatch, known: tuple[int, int]
) -> dict[str, Any]:
    """Ask the installed Keras through the newest line, as if quantcheck knew none after `known`."""
    monkeypatch.setattr(releases, "KNOWN", known)
    monkeypatch.setattr(releases, "current", Keras316)
    return target.answer(case.question())


def test_what_a_newer_release_lacks_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed Keras 3.15 has no GPTQCalibrator, as a release after 3.16 may have none."""
    import keras

    case = next(c for c in CASES.values() if c.operation == "hessian" and "outputs" in c.expected)
    got = answers_of_a_newer_release(case, monkeypatch, (3, 14))
    begin = f"Keras {keras.__version__} is newer than quantcheck knows: cannot import"
    assert got["unsupported"].startswith(begin)
    assert "GPTQCalibrator" in got["unsupported"]
    # What it has is judged all the same.
    case = next(c for c in CASES.values() if c.operation == "affine_dequantize")
    assert "outputs" in answers_of_a_newer_release(case, monkeypatch, (3, 14))
    # In a release that is known, the same is an error of the target.
    case = next(c for c in CASES.values() if c.operation == "hessian" and "outputs" in c.expected)
    with pytest.raises(ImportError):
        answers_of_a_newer_release(case, monkeypatch, (3, 16))


def test_whole_group_indices_are_integers_and_others_are_not() -> None:
    from quantcheck.targets.keras.releases.v3_16 import _as_read

    assert _as_read(np.array([0, 0, 1], np.float32)).dtype == np.int32
    assert _as_read(np.array([0, 0.5, 1], np.float32)).dtype == np.float32


def test_each_line_has_its_own_file() -> None:
    folder = Path(releases.__file__).parent
    assert {p.stem for p in folder.glob("v*.py")} == {"v3_12", "v3_13", "v3_16"}
