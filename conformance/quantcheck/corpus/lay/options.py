"""Options of a question on a layer: its dtype policy, what is done with it, how it is quantized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from quantcheck.corpus.draw import U32
from quantcheck.judge.precision import Precision, of_variables, precision_of
from quantcheck.wire.policies import ALONE, CALLED, COPIED, TWICE, DtypePolicy, policy_of


@dataclass(frozen=True)
class Options:
    """Options that a question has only where they are given.

    Attributes
    ----------
    policy : str
        Name of a dtype policy.
    use : str
        One of `quantcheck.wire.policies.LAYER_USES`.
    arguments : mapping
        How `quantize` is called, see SPEC.md, section 12.
    place : str
        One of `quantcheck.wire.policies.LAYER_PLACES`.
    calibrated_with : mapping
        How the model of a packed layer is calibrated.
    """

    policy: str = "float32"
    use: str = CALLED
    arguments: Mapping[str, Any] = field(default_factory=dict)
    place: str = ALONE
    calibrated_with: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of a question; those that it may leave out are left out.

        Examples
        --------
        >>> Options().parameters(), Options("bfloat16").parameters()
        ({}, {'policy': 'bfloat16'})
        """
        made: dict[str, Any] = {}
        if self.policy != "float32":
            made["policy"] = self.policy
        if self.use != CALLED:
            made["use"] = self.use
        if self.place != ALONE:
            made["place"] = self.place
        if self.calibrated_with:
            made["calibrated_with"] = dict(self.calibrated_with)
        return made | ({"arguments": dict(self.arguments)} if self.arguments else {})

    @property
    def dtypes(self) -> DtypePolicy:
        """The policy's dtypes."""
        return policy_of(self.parameters())

    @property
    def precision(self) -> Precision:
        """The precision of outputs of a target of single precision."""
        return precision_of(self.parameters(), float(U32))

    @property
    def variables(self) -> tuple[Fraction, Fraction]:
        """Unit roundoffs of codes of weights and of their scales, for the same target."""
        u, unit = of_variables(self.parameters(), float(U32))
        return Fraction(u), Fraction(unit)

    @property
    def requirements(self) -> tuple[str, ...]:
        """The requirements on the options themselves."""
        made: tuple[str, ...] = ("LAY-220",) if self.dtypes.half else ()
        made += () if self.place == ALONE else ("LAY-250",)
        made += ("CAL-090",) if self.calibrated_with else ()
        if self.use in COPIED:
            return (*made, "LAY-200")
        if self.use == TWICE:
            return (*made, "LAY-240")
        return made if self.use == CALLED else (*made, "LAY-210")


PLAIN = Options()
