"""The table: every cell with exactly one of golden cases, properties, or a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from quantcheck.errors import CorpusError
from quantcheck.interface import axes
from quantcheck.interface.asked import given_by, place_of
from quantcheck.interface.rules import Cell, Covered, Row, gap_of, ruled_out
from quantcheck.interface.signatures import SIGNATURES
from quantcheck.properties.crossed.arrays import ArrayDomain
from quantcheck.properties.crossed.cases import Draw
from quantcheck.properties.crossed.domain import Domain
from quantcheck.wire.cases import Case

CASE, PROPERTY, NOT_ASKED, RULED_OUT = "case", "property", "not asked", "ruled out"
OUTCOMES = (CASE, PROPERTY, NOT_ASKED, RULED_OUT)


@dataclass(frozen=True)
class Outcome:
    """What a cell has: ids of cases, ids of properties, or a reason.

    Attributes
    ----------
    kind : str
        One of `OUTCOMES`; the last two have a reason.
    by : tuple of str
        Ids of cases or of properties, sorted.
    reason : str
    """

    kind: str
    by: tuple[str, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        if self.kind not in OUTCOMES or bool(self.by) == bool(self.reason):
            raise ValueError(f"expected {OUTCOMES} with ids or a reason, got {self}")


def rows() -> Iterator[Row]:
    """Yield every row, in the order of the signatures.

    Examples
    --------
    >>> next(rows()).key
    ('Quantizer', 'output_dtype', 'left out', 'described')
    """
    for signature in SIGNATURES:
        for argument in signature.arguments:
            for operation, kind in product(argument.reaches, argument.kinds):
                yield Row(signature, argument, kind, operation)


def cells_of(row: Row) -> Iterator[Cell]:
    """Yield the cells of a row: every policy, kind of layer and use."""
    for layer, policy, use in product(axes.LAYERS, axes.POLICIES, axes.USES):
        yield Cell(row, policy, layer, use)


class Table:
    """Every row and cell with its outcome.

    Parameters
    ----------
    cases : iterable of Case
        The golden cases.
    drawn : mapping
        The cases that each property draws, by the property's id.
    domains : iterable of Domain or ArrayDomain
        What properties draw from; a cell of a domain is covered whether or not it was drawn.

    Raises
    ------
    CorpusError
        A case covers a cell that a rule rules out.
    """

    def __init__(
        self,
        cases: Iterable[Case],
        drawn: Mapping[str, Iterable[Case]],
        domains: Iterable[Domain | ArrayDomain] = (),
    ) -> None:
        self.rows = tuple(rows())
        self._by_argument: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows:
            key = (row.signature.name, row.argument.name, row.operation)
            self._by_argument.setdefault(key, []).append(row)
        self._golden: dict[Cell, set[str]] = {}
        self._drawn: dict[Cell, set[str]] = {}
        for case in cases:
            for cell in self.covered_by(case):
                self._golden.setdefault(cell, set()).add(case.id)
        for name, made in drawn.items():
            for case in made:
                for cell in self.covered_by(case):
                    self._drawn.setdefault(cell, set()).add(name)
        for domain in domains:
            cells = self.in_domain(domain) if isinstance(domain, Domain) else self.in_arrays(domain)
            for cell in cells:
                self._drawn.setdefault(cell, set()).add(domain.identity)
        self.covered = self._covered()

    def _covered(self) -> Covered:
        """Return rows and layers that are covered; raise if a rule rules a covered cell out."""
        found = {**self._golden, **self._drawn}
        for cell in found:
            if (rule := ruled_out(cell)) is not None:
                raise CorpusError("a rule for cells that no case covers", f"{rule.reason}: {cell}")
        return Covered(
            rows=frozenset(cell.row for cell in found),
        )

    def covered_by(self, case: Case) -> Iterator[Cell]:
        """Yield the cells that a case covers: it sets that argument to that kind of value there."""
        place = place_of(case)
        if place is None:
            return
        for row in self._rows_of(case):
            for layer, use in product(place.layers, place.uses):
                yield Cell(row, place.policy, layer, use)

    def _rows_of(self, case: Case) -> Iterator[Row]:
        """Yield the rows of the values that a case gives."""
        refused = "refused" in case.expected
        for given in given_by(case):
            key = (given.signature, given.argument, given.operation)
            for row in self._by_argument.get(key, ()):
                if row.kind.refused == refused and row.kind.holds(given.value):
                    yield row

    def in_domain(self, domain: Domain) -> set[Cell]:
        """Return the cells that draws from a domain can cover: values, policies and uses, crossed.

        Every value of a field occurs with every policy and use, so that one draw stands for all.
        """
        found = set()
        for kind in domain.kinds:
            first = next(domain.fields(kind))
            places = [
                place_of(Draw(domain.mode, kind, policy, use, first, stands).skeleton())
                for policy, use, stands in product(domain.policies, domain.uses, domain.places)
            ]
            cells = {
                (place.policy, layer, use)
                for place in places
                if place is not None
                for layer, use in product(place.layers, place.uses)
            }
            rows = {
                row
                for fields in domain.fields(kind)
                for row in self._rows_of(
                    Draw(
                        domain.mode, kind, "float32", domain.uses[0], fields, domain.places[0]
                    ).skeleton()
                )
            }
            found |= {Cell(row, *rest) for row in rows for rest in cells}
        return found

    def in_arrays(self, domain: ArrayDomain) -> set[Cell]:
        """Return the cells that draws of arrays can cover."""
        return {cell for case in domain.skeletons() for cell in self.covered_by(case)}

    def outcome(self, cell: Cell) -> Outcome:
        """Return the outcome of a cell."""
        if cell in self._golden:
            return Outcome(CASE, by=tuple(sorted(self._golden[cell])))
        if cell in self._drawn:
            return Outcome(PROPERTY, by=tuple(sorted(self._drawn[cell])))
        rule = ruled_out(cell)
        if rule is not None:
            return Outcome(RULED_OUT, reason=rule.reason)
        return Outcome(NOT_ASKED, reason=gap_of(cell, self.covered).reason)

    def outcomes(self) -> Iterator[tuple[Cell, Outcome]]:
        """Yield every cell with its outcome, row by row."""
        for row in self.rows:
            for cell in cells_of(row):
                yield cell, self.outcome(cell)
