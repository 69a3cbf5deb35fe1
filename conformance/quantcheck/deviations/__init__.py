"""Known deviations: one file per target and released version.  [VER-020]

An entry is strict: a listed case that passes fails the run, and so does an unlisted failure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantcheck.errors import DeviationError
from quantcheck.judge.verdict import Judgement, Verdict, known_deviation
from quantcheck.wire.protocol import Handshake

if TYPE_CHECKING:
    from quantcheck.properties import Property
    from quantcheck.wire.cases import Case

DIRECTORY = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Deviation:
    """Cases of one requirement that a released version is known to fail, and the reason."""

    id: str
    requirement: str
    backends: tuple[str, ...]
    cases: tuple[str, ...]
    reason: str
    link: str = ""
    reproduction: tuple[str, ...] = ()
    verdict: Verdict = Verdict.FAIL


def path_for(handshake: Handshake, directory: Path = DIRECTORY) -> Path | None:
    """Find the file for exactly this name and version, None if there is none."""
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in handshake.name)
    path = directory / f"{safe}-{handshake.version}.json"
    return path if path.is_file() else None


def load(path: Path, handshake: Handshake) -> list[Deviation]:
    """Read the entries of a file that hold for the backend of the handshake.

    Raises
    ------
    DeviationError
        The file breaks its schema or belongs to another target or version, or two entries list the
        same case of the same requirement.
    """
    data = read(path)
    if (data["target"], data["version"]) != (handshake.name, handshake.version):
        raise DeviationError(
            f"deviations of {handshake.name} {handshake.version}",
            f"{path.name} of {data['target']} {data['version']}",
        )
    entries = [
        Deviation(
            id=entry["id"],
            requirement=entry["requirement"],
            backends=tuple(entry["backends"]),
            cases=tuple(entry["cases"]),
            reason=entry["reason"],
            link=entry["link"],
            reproduction=tuple(entry["reproduction"]),
            verdict=Verdict(entry.get("verdict", "fail")),
        )
        for entry in data["deviations"]
        if handshake.backend in entry["backends"]
    ]
    seen: dict[tuple[str, str], str] = {}
    for entry in entries:
        for case in entry.cases:
            key = (entry.requirement, case)
            if key in seen:
                raise DeviationError(
                    f"one entry for {case} under {entry.requirement}",
                    f"{seen[key]} and {entry.id} in {path.name}",
                )
            seen[key] = entry.id
    return entries


def read(path: Path) -> dict[str, Any]:
    """Read a file and validate it against its schema.

    Raises
    ------
    DeviationError
        The file is no JSON, or breaks the schema.
    """
    import jsonschema

    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DeviationError(f"readable JSON in {path}", str(error)) from None
    schema = json.loads((DIRECTORY / "schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    fault = jsonschema.exceptions.best_match(validator.iter_errors(data))
    if fault is not None:
        raise DeviationError(
            f"{path.name} to follow its schema", f"{fault.json_path}: {fault.message}"
        )
    return data


def check_matches(deviations: Iterable[Deviation], cases: Mapping[str, Case | Property]) -> None:
    """Refuse entries whose case or requirement the corpus does not have.

    Raises
    ------
    DeviationError
        The message names the first such entry.
    """
    for entry in deviations:
        for case_id in entry.cases:
            case = cases.get(case_id)
            if case is None:
                raise DeviationError(f"a case of the corpus in {entry.id}", repr(case_id))
            if entry.requirement not in case.requirements:
                raise DeviationError(
                    f"a case that names {entry.requirement} in {entry.id}",
                    f"{case_id}, which names {', '.join(case.requirements)}",
                )


def apply(
    case: Case | Property,
    judgements: Sequence[Judgement],
    deviations: Iterable[Deviation],
    *,
    same_draws: bool = True,
) -> list[Judgement]:
    """Turn listed failures into known deviations, and listed passes into failures.

    If the samples of a property differ from those of the file (`same_draws` is False), the property
    may pass, since the file says nothing about these samples.
    """
    listed = {d.requirement: d for d in deviations if case.id in d.cases}
    unjudged = {j.requirement for j in judgements if j.verdict == Verdict.NOT_JUDGED}
    made = [
        _apply_one(j, listed.pop(j.requirement), same_draws) if j.requirement in listed else j
        for j in judgements
        if j.requirement not in unjudged.intersection(listed)
    ]
    for entry in listed.values():
        message = f"deviation {entry.id} lists this case, but {entry.requirement} was not judged"
        made.append(Judgement(entry.requirement, case.id, Verdict.ERROR, message, stale=True))
    return made


def _apply_one(judgement: Judgement, entry: Deviation, same_draws: bool) -> Judgement:
    if judgement.verdict == entry.verdict:
        return known_deviation(judgement, entry.reason, entry.link)
    if judgement.verdict == Verdict.PASS and not same_draws:
        return judgement
    if judgement.verdict == Verdict.PASS:
        message = f"deviation {entry.id} lists this case, but it passes: remove it from the file"
        return replace(judgement, verdict=Verdict.FAIL, message=message, stale=True)
    if judgement.verdict == Verdict.UNSUPPORTED:
        message = (
            f"deviation {entry.id} lists this case, but it is unsupported: {judgement.message}"
        )
        return replace(judgement, verdict=Verdict.ERROR, message=message, stale=True)
    return judgement
