"""The report of a quantized model: a record per layer, settings and times."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from quantref.checks import MOST_UNDECIDED
from quantref.errors import ReportError
from quantref.models.answer import Answer
from quantref.models.figures import Figures, HessianFigures

Verdict = Literal["certified", "weak", "failed", "plain rounding", "not judged"]


@dataclass(frozen=True)
class LayerRecord:
    """A quantized layer in the report.

    Attributes
    ----------
    name : str
        Path of the layer in its model.
    block : str
    n_out, n_in : int
    tokens : int
        Number of tokens that calibrated the layer; 0 without calibration.
    bits : int
    groups : int
        Scales per row.
    figures : Figures
    hessian : HessianFigures or None
        None without calibration.
    shared : tuple of str
        Other layers with the same inputs, and so the same Hessian.
    """

    name: str
    block: str
    n_out: int
    n_in: int
    tokens: int
    bits: int
    groups: int
    figures: Figures
    hessian: HessianFigures | None
    shared: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The verdict of the certificate.

        "plain rounding" is a failure with a known cause: every code is that of rounding each weight
        by itself with the answer's own scales, although feedback requires other codes. "weak": no
        check failed, but rounding errors decide too little.  [CERT-100]
        """
        f = self.figures
        if not f.certified:
            return "not judged"
        if not f.failures:
            return "weak" if f.undecided > MOST_UNDECIDED else "certified"
        return "plain rounding" if f.differing == 0 and self.hessian is not None else "failed"

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values, with its verdict.  See `from_json`.

        JSON has no infinity. If LAPACK finds the matrix singular, its condition is None.
        """
        made = {**asdict(self), "verdict": self.verdict}
        if made["hessian"] is not None and math.isinf(made["hessian"]["condition"]):
            made["hessian"]["condition"] = None
        return made

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Make the record that `to_json` described.

        Examples
        --------
        >>> record = LayerRecord("dense", "block", 2, 3, 10, 4, 1, Figures(), None)
        >>> LayerRecord.from_json(record.to_json()) == record
        True
        """
        try:
            fields = {name: data[name] for name in cls.__dataclass_fields__}
            figures = {name: data["figures"][name] for name in Figures.__dataclass_fields__}
            figures["residuals"] = tuple(figures["residuals"])
            figures["failures"] = tuple(figures["failures"])
            fields["figures"] = Figures(**figures)
            if fields["hessian"] is not None:
                known = dict(fields["hessian"])
                known["pivots"] = tuple(known["pivots"])
                known["condition"] = known["condition"] or math.inf
                fields["hessian"] = HessianFigures(**known)
            fields["shared"] = tuple(fields["shared"])
        except (KeyError, TypeError) as error:
            raise ReportError("the fields of a layer's record", f"{error}", "") from None
        return cls(**fields)


def record_of(
    name: str, block: str, answer: Answer, *, tokens: int, bits: int, shared: tuple[str, ...] = ()
) -> LayerRecord:
    """Return the record of a layer's answer."""
    n_out, n_in = answer.codes.shape
    groups = answer.scale.shape[1]
    return LayerRecord(
        name, block, n_out, n_in, tokens, bits, groups, answer.figures, answer.hessian, shared
    )


@dataclass(frozen=True)
class Report:
    """All layers of a model, the settings, and the time that the work took.

    Attributes
    ----------
    layers : tuple of LayerRecord
    settings : dict
        JSON values: mode and configuration.
    seconds : dict of str to float
        Time of "forward", "hessian", "gptq", "certificate" and "total".
    skipped : tuple of (str, str)
        Layers that stay unchanged, each with the reason.
    about : dict
        JSON values: versions, machine, files.
    """

    layers: tuple[LayerRecord, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True if every layer is certified."""
        return all(layer.verdict == "certified" for layer in self.layers)

    @property
    def total(self) -> Figures:
        """The figures of all layers, added up.

        Examples
        --------
        >>> Report(()).total.loss
        0.0
        """
        return sum((layer.figures for layer in self.layers), start=Figures())

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values.  See `from_json`."""
        return {
            "format": "quantref report 1",
            "passed": self.passed,
            "settings": self.settings,
            "seconds": self.seconds,
            "skipped": [list(pair) for pair in self.skipped],
            "about": self.about,
            "layers": [layer.to_json() for layer in self.layers],
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Make the report that `to_json` described.

        Examples
        --------
        >>> Report.from_json(Report((), {"mode": "gptq"}).to_json()).settings
        {'mode': 'gptq'}
        """
        if not isinstance(data, dict) or data.get("format") != "quantref report 1":
            raise ReportError('a report with format "quantref report 1"', f"{data!r:.60}", "")
        return cls(
            tuple(LayerRecord.from_json(layer) for layer in data["layers"]),
            data["settings"],
            data["seconds"],
            tuple((str(name), str(why)) for name, why in data["skipped"]),
            data["about"],
        )
