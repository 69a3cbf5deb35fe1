"""Writes the golden vectors, or checks that regeneration gives their bytes (SPEC.md, section 11).

A case is written only if the reference agrees with its exact values and every mutant is killed by
some case.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from quantcheck import corpus
from quantcheck.judge.judges import judge, unexplained
from quantcheck.mutants import MUTANTS, Mutant, load
from quantcheck.spec.sections import SECTIONS
from quantcheck.targets.reference.operations import answer
from quantcheck.wire.arrays import decode
from quantcheck.wire.cases import Case, dump, load_all, parse
from quantref import SPEC_VERSION, __version__
from quantref.certificate import U32, U64
from quantref.errors import AnswerError, DamagedVectorError, QuantrefError

Progress = Callable[[str], None]
Texts = dict[str, str]
Question = dict[str, Any]
Answer = dict[str, Any]
Target = Callable[[Question], Answer]
PROSE = ("README.md", "schema.json")


def _silent(_text: str) -> None:
    """Ignore progress."""


class DisagreementError(QuantrefError):
    """The reference and the exact values differ on a case, so that nothing is written."""


def build(section: str) -> Texts:
    """Return the files of a section: {"abs/abs-….json": text}, each checked and with its kills.

    Raises
    ------
    DisagreementError
        The reference does not pass one of its own cases.
    """
    mutants = [(m, load(m).answer) for m in MUTANTS if section in m.sections]
    texts: Texts = {}
    for case in corpus.cases(section):
        tried = [(m.id, target) for m, target in mutants if _tried(case, m)]
        kills = () if case.large else _kills(case, _agree(case), tried)
        finished = replace(case, kills=kills)
        name = f"{section}/{case.id}.json"
        if name in texts:
            raise DisagreementError("ids that occur once", case.id, "VEC-010")
        texts[name] = dump(finished, generator=__version__, spec=SPEC_VERSION)
    return texts


def _agree(case: Case) -> Answer:
    """Return the reference's answer; raise unless it passes in both precisions.  [VEC-050]"""
    answered = answer(case.question())
    given = decode(answered)
    kind = case.expected.get("refused")
    if kind is not None and given.get("type") != kind:
        raise DisagreementError(f"{case.id}: {kind}", f"{given!r:.200}", "VEC-050")
    for u in (U32, U64):
        for finding in judge(case, given, unit_roundoff=u):
            if not finding.passed:
                raise DisagreementError(f"{case.id} to pass", finding.message, "VEC-050")
    return answered


def _agree_on_large(texts: Texts, progress: Progress) -> None:
    """Raise unless the reference passes the large cases, which `check` leaves out.  [VEC-050]"""
    for name, text in texts.items():
        case = parse(text, name) if '"recipe"' in text else None
        if case is not None and case.large:
            _agree(case)
            progress(f"{case.id}: the reference agrees")


def _tried(case: Case, mutant: Mutant) -> bool:
    """Tell whether a mutant is tried on a case: by recipe, those of its topic, on 512 columns.

    Mutants for generated cases alone are tried on none.
    """
    if mutant.generated:
        return False
    topic = mutant.blames == case.requirements[0]
    return not case.by_recipe or (topic and not case.large)


def _kills(case: Case, passing: Answer, tried: Sequence[tuple[str, Target]]) -> tuple[str, ...]:
    """Return the mutants that fail a case, given the reference's answer, which passes.  [VEC-060]

    Most mutants give the reference's answer to most cases, to the last bit.
    """
    question, text = case.question(), _text(passing)
    return tuple(name for name, target in tried if _killed(case, question, text, target))


def _killed(case: Case, question: Question, passing: str, target: Target) -> bool:
    """Tell whether a mutant fails a case in single precision; the text of an answer passes."""
    try:
        with np.errstate(all="ignore"):
            given = target(question)
            if _text(given) == passing:
                return False
            decoded = decode(given)
        return any(not f.passed for f in unexplained(case, decoded, unit_roundoff=U32))
    except (AnswerError, ArithmeticError, LookupError, TypeError, ValueError):
        return True  # the mutant raises an error, or its answer has a wrong form


def _text(given: Answer) -> str:
    """Return an answer as JSON, which tells 0 from −0; empty if it is none."""
    try:
        return json.dumps(given, sort_keys=True)
    except (TypeError, ValueError):
        return ""


def build_all(progress: Progress = _silent) -> Texts:
    """Return every file that generation writes, MANIFEST.json last.  [VEC-040]

    Raises
    ------
    DisagreementError
        A case disagrees with the reference, or no case kills a mutant.
    """
    texts: Texts = {}
    for section in SECTIONS:
        files = build(section)
        texts |= files
        progress(f"{section}: {len(files)} cases")
    killed = {kill for text in texts.values() for kill in json.loads(text)["kills"]}
    survivors = [m.id for m in MUTANTS if m.id not in killed and not m.generated]
    if survivors:
        raise DisagreementError("every mutant killed", ", ".join(survivors), "VEC-060")
    manifest = {
        "format": 1,
        "generator": __version__,
        "spec": SPEC_VERSION,
        "cases": len(texts),
        "files": {
            name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(texts.items())
        },
    }
    return {**texts, "MANIFEST.json": json.dumps(manifest, indent=1) + "\n"}


def write(folder: Path, progress: Progress = _silent) -> int:
    """Write the vectors into a folder, and return their number.

    Files are first made next to the folder and then moved into it one by one, the manifest last, so
    that `check` detects an interrupted run. README.md and schema.json stay unchanged.
    """
    texts = build_all(progress)
    _agree_on_large(texts, progress)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".vectors-") as place:
        for name, text in texts.items():
            file = Path(place, name)
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        folder.mkdir(exist_ok=True)
        for section in SECTIONS:
            shutil.rmtree(folder / section, ignore_errors=True)
            Path(place, section).replace(folder / section)
        Path(place, "MANIFEST.json").replace(folder / "MANIFEST.json")
    progress(f"{len(texts) - 1} cases written to {folder}")
    return len(texts) - 1


def check(folder: Path, progress: Progress = _silent) -> int:
    """Regenerate everything, compare bytes, and return the number of cases.  [VEC-070]

    Raises
    ------
    DamagedVectorError
        The message names the first file that is missing, superfluous or different. A file that
        differs from the folder's own manifest is found before anything is regenerated.
    """
    load_all(folder)
    texts = build_all(progress)
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    present -= set(PROSE)
    if present != set(texts):
        got = ", ".join(sorted(present ^ set(texts))[:5])
        raise DamagedVectorError(
            f"the {len(texts)} files of the corpus", f"other: {got}", "VEC-070"
        )
    for name, text in texts.items():
        if (folder / name).read_bytes() != text.encode():
            raise DamagedVectorError(f"{name} as regenerated", "other bytes", "VEC-070")
    progress(f"{len(texts) - 1} cases, {sum(map(len, texts.values())):,} bytes: all as regenerated")
    return len(texts) - 1
