"""Loads the vectors of a run, and checks by canaries that they detect bugs.  [VER-030]"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantcheck.errors import CanaryError, CorpusError
from quantcheck.judge.judgements import judge_answer
from quantcheck.judge.verdict import Verdict

if TYPE_CHECKING:
    from quantcheck.wire.cases import Case


def load(directory: Path | None = None) -> dict[str, Case]:
    """Return every case by id, after checking hashes and number.

    Raises
    ------
    CorpusError
        A vector is damaged, or there are none, or fewer than MANIFEST.json lists.
    """
    from quantcheck.spec import places
    from quantcheck.wire.cases import load_all
    from quantref.errors import QuantrefError

    root = places.directory() if directory is None else directory
    try:
        cases = load_all(root)
    except (QuantrefError, OSError) as error:
        raise CorpusError(f"readable vectors in {root}", str(error)) from None
    listed = _listed(root)
    if not cases:
        raise CorpusError(f"vectors in {root}", "none")
    if len(cases) < listed:
        raise CorpusError(f"{listed} vectors as in MANIFEST.json", f"{len(cases)} in {root}")
    return {case.id: case for case in cases}


def _listed(root: Path) -> int:
    """Return the number of vectors in MANIFEST.json."""
    path = root / "MANIFEST.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError("MANIFEST.json with the vectors", str(error)) from None
    files = manifest.get("files", manifest.get("cases"))
    if not isinstance(files, (dict, list)) or not files:
        raise CorpusError("a list of files in MANIFEST.json", repr(files)[:80])
    return len(files)


def canary(
    section: str, cases: Iterable[Case], mutants: Sequence[Any] | None = None
) -> tuple[str, str]:
    """Show that the vectors of one section detect a canary.

    Parameters
    ----------
    section : str
    cases : iterable of Case
        The vectors of the section.
    mutants : sequence of quantcheck.mutants.Mutant, optional
        Candidates; by default all mutants of the reference.

    Returns
    -------
    mutant id, case id : str
        The first mutant that was detected, and the case that detected it.

    Raises
    ------
    CanaryError
        No mutant of the section was detected.
    """
    from quantcheck import mutants as planted

    pool = [m for m in (planted.MUTANTS if mutants is None else mutants) if section in m.sections]
    by_size = sorted(cases, key=_size)
    for mutant in pool:
        killers = [case for case in by_size if mutant.id in case.kills]
        if not killers:
            continue
        broken = planted.load(mutant)
        for case in killers:
            if caught(case, broken.answer(case.question())):
                return mutant.id, case.id
    tried = ", ".join(m.id for m in pool) or "no mutant in this section"
    raise CanaryError(f"a mutant detected in section {section}", f"none of: {tried}")


def _size(case: Case) -> tuple[bool, int]:
    """Return a sort key: cases with written inputs first, small ones before others."""
    return case.by_recipe, 0 if case.by_recipe else len(json.dumps(case.question()))


def caught(case: Case, answer: Mapping[str, Any]) -> bool:
    """Whether the verdict on a mutant's answer is not pass."""
    judgements, _ = judge_answer(case, answer, unit_roundoff=2.0**-24)
    return any(j.verdict in (Verdict.FAIL, Verdict.ERROR) for j in judgements)
