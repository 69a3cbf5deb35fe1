"""One run: a target, its cases and properties, the known deviations, and the results."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quantcheck import deviations, properties
from quantcheck.deviations import Matching
from quantcheck.deviations.declared import require_declarable
from quantcheck.errors import QuantcheckError, SuiteError
from quantcheck.judge import choices
from quantcheck.judge.summary import CaseResult
from quantcheck.judge.verdict import Judgement
from quantcheck.properties import Property
from quantcheck.run import generated, golden
from quantcheck.run.again import covering
from quantcheck.run.asking import Asking, Event
from quantcheck.run.draws import draw
from quantcheck.run.settings import Settings
from quantcheck.spec import requirements
from quantcheck.spec.requirements import Requirement
from quantcheck.wire.cases import Case


class Run:
    """One run. Call `load`, `begin`, `ask` for each case and property, and `close`.

    Parameters
    ----------
    settings : Settings
    event : callable, optional
        Called with each event, a JSON object.

    Attributes
    ----------
    cases, properties : dict
        All cases, and the properties of the selected sections, by id; no properties for a run of
        vectors alone.
    selected : list of str
        Ids of the selected cases and properties.
    results : list of CaseResult
        Results so far.
    stale : list of Judgement
        One for each entry of known deviations that no longer occurs.
    aborted : QuantcheckError, optional
        The error that ended the run early.
    interrupted : bool
        Whether Ctrl-C ended the run early.
    """

    def __init__(self, settings: Settings, event: Event | None = None) -> None:
        self.settings = settings
        self.started, self._clock = datetime.now(UTC), time.monotonic()
        self.event: Event = event or (lambda _: None)
        targets = settings.targets()
        self.asking = Asking(targets, settings.draws, self.event, settings.further(targets))
        self.target = self.asking.target
        self.deviation_file: Path | None = settings.deviations
        self.requirements: dict[str, Requirement] = {}
        self.cases: dict[str, Case] = {}
        self.properties: dict[str, Property] = {}
        self.stale: list[Judgement] = []
        self.reasons: dict[str, Any] | None = None
        self.results: list[CaseResult] = []
        self.canaries: list[dict[str, str]] = []
        self.selected: list[str] = []
        self.aborted: QuantcheckError | None = None
        self.interrupted = False

    def load(self) -> None:
        """Read the specification, the vectors, and the properties that can be selected.

        Raises
        ------
        QuantcheckError
            Vectors are damaged or missing, or SPEC.md cannot be read.
        """
        self.requirements = requirements.load()
        self.cases = golden.load(self.settings.vectors)
        if self.settings.only != "vectors":
            self.properties = properties.load(self.settings.sections)
        if self.settings.reasons is not None:
            self.reasons = deviations.read(self.settings.reasons)

    def chosen(self) -> list[str]:
        """Return the ids of the selected cases and properties, vectors first in each section."""
        only, sections = self.settings.only, self.settings.sections
        asked: list[Case | Property] = []
        if only != "generated":
            asked += [c for c in self.cases.values() if self.settings.large or not c.large]
        if only != "vectors":
            asked += self.properties.values()
        return [each.id for section in sections for each in asked if each.section == section]

    def begin(self, selected: Iterable[str]) -> None:
        """Check the canaries, start the target, and read its known deviations.

        Parameters
        ----------
        selected : iterable of str
            Ids of the cases and properties that will be asked.

        Raises
        ------
        QuantcheckError
            A canary is not detected, the target does not start or declares a choice that does not
            exist, or the deviations do not fit.
        """
        self.selected = list(selected)
        chosen = [self.cases[id_] for id_ in self.selected if id_ in self.cases]
        drawn = [self.properties[id_] for id_ in self.selected if id_ in self.properties]
        if not self.selected:
            raise SuiteError("cases to ask", "none selected")
        for section in dict.fromkeys(case.section for case in chosen):
            self.event({"event": "canary", "section": section})
            mutant, case = golden.canary(section, [c for c in chosen if c.section == section])
            self.canaries.append({"section": section, "mutant": mutant, "case": case})
        self.event({"event": "starting", "target": self.target.spec})
        handshake = self.target.start()
        self.event({"event": "ready", "name": handshake.name, "version": handshake.version})
        self.asking.draws = replace(self.settings.draws, compiled=handshake.compiles)
        self.asking.undeclared = choices.undeclared(self.requirements, handshake.choices)
        path = self.deviation_file or deviations.path_for(handshake)
        self.deviation_file = path
        self.asking.known = Matching(
            [] if path is None else deviations.load(path, handshake),
            self.asking.u,
            self.asking.u_f,
            self.asking.undeclared,
            handshake.calibration_order,
            require_declarable(handshake.rules),
        )
        self.asking.again.share = covering(case for case in chosen if not case.large)
        self.asking.submit(chosen)
        for section in dict.fromkeys(prop.section for prop in drawn):
            self._draw(section, [prop for prop in drawn if prop.section == section])

    def _draw(self, section: str, drawn: Iterable[Property]) -> None:
        """Draw the samples of a section, and show that they detect a canary."""
        self.event({"event": "drawing", "section": section})
        samples = {prop: draw(prop, self.asking.draws) for prop in drawn}
        mutant, found = generated.canary(section, samples)
        self.canaries.append({"section": section, "mutant": mutant, "case": found})
        self.asking.samples.update({prop.id: made for prop, made in samples.items()})
        self.asking.submit(case for made in samples.values() for s in made for case in s.cases)

    def ask(self, identity: str) -> CaseResult:
        """Ask one case or property, and judge the answers."""
        if identity in self.cases:
            return self._check(self.cases[identity])
        return self._check_property(self.properties[identity])

    def _check(self, case: Case) -> CaseResult:
        return self._add(self.asking.case(case))

    def _check_property(self, prop: Property) -> CaseResult:
        result = self.asking.judge_property(prop)
        vectors = tuple(self.asking.shrunk(prop, result.judgements))
        return self._add(replace(result, vectors=vectors))

    @property
    def known(self) -> Matching:
        """The known deviations of the target."""
        return self.asking.known

    def _add(self, result: CaseResult) -> CaseResult:
        self.results.append(result)
        self.event(
            {
                "event": "case",
                "section": result.section,
                "case": result.case,
                "verdict": result.verdict.value,
                "done": len(self.results),
                "total": len(self.selected),
            }
        )
        return result

    def abort(self, error: Exception) -> None:
        """Store the error that ended the run; an unexpected error gets its traceback."""
        if isinstance(error, QuantcheckError):
            self.aborted = error
        else:
            self.aborted = SuiteError("no error in the suite itself", _trace(error))

    def close(self) -> None:
        """Find entries that no longer occur, and close every process of the target."""
        if len(self.results) == len(self.selected) and self.aborted is None:
            self.stale = self.known.stale()
        self.asking.close()

    @property
    def seconds(self) -> float:
        """Return the duration so far."""
        return round(time.monotonic() - self._clock, 3)

    def kill(self) -> None:
        """Kill every process of the target, without waiting."""
        self.asking.kill()


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error)).strip()
