"""The case of a draw: exact inputs of a seed, which every dtype policy represents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from quantcheck.corpus.cal.calibrated import calibrated_case
from quantcheck.corpus.draw import refused
from quantcheck.corpus.lay.build import lay_gptq_case, lay_int8_case
from quantcheck.corpus.lay.options import Options
from quantcheck.corpus.lay.rows import lay_embedding_case, lay_reverse_case
from quantcheck.properties.crossed.domain import (
    OMIT,
    SAVED,
    Fields,
    arguments_of,
    calibrated_with,
    config_of,
    reversed_of,
)
from quantcheck.properties.crossed.kinds import DENSE, EMBEDDING, REVERSIBLE, LayerKind
from quantcheck.properties.crossed.refusals import fault_of, faulty_config
from quantcheck.properties.sizes import integers
from quantcheck.wire.cases import Case
from quantcheck.wire.policies import ALONE, CALLED
from quantref.affine import group_index
from quantref.inputs import Array
from quantref.packing import pack_codes

MOST = 255  # eight binary digits: exact in bfloat16, and in float16


@dataclass(frozen=True)
class Draw:
    """One point of a domain.

    Attributes
    ----------
    mode : str
        "int8", "gptq" or "calibrated".
    kind : LayerKind
    policy, use : str
    fields : dict
        A value for each field of the domain.
    place : str
        Where the layer stands.
    """

    mode: str
    kind: LayerKind
    policy: str
    use: str
    fields: Fields
    place: str = ALONE

    @property
    def operation(self) -> str:
        """The operation of the question."""
        return f"{self.kind.family}_{self.mode}"

    @property
    def options(self) -> Options:
        """Policy, use, and how `quantize` is called."""
        use = CALLED if self.use == SAVED else self.use
        calibrated = self.mode != "int8" and self.place != ALONE
        return Options(
            self.policy,
            use,
            arguments_of(self.fields),
            self.place,
            calibrated_with(self.fields) if calibrated else {},
        )

    @property
    def title(self) -> str:
        """The title of the case."""
        stands = "" if self.place == ALONE else f", {self.place}"
        faulty = f", a fault of {self.fields['fault']}" if "fault" in self.fields else ""
        named = f"{self.kind.family}, {self.mode}, {self.policy}, {self.use}"
        return f"a generated {named}{stands}{faulty}"

    def skeleton(self) -> Case:
        """Return the question without its arrays, for `quantcheck interface`."""
        parameters: dict[str, Any] = {"config": config_of(self.mode, self.fields)}
        if self.mode != "calibrated":
            parameters["reload"] = self.use == SAVED
        parameters |= self.options.parameters()
        if self.kind.equation is not None:
            parameters["equation"] = self.kind.equation
        if self.kind.family == REVERSIBLE:
            parameters["tie_weights"] = self.kind.tied
        expected: dict[str, Any] = {"outputs": {}}
        made = Case("drawn", "lay", self.title, self.operation, (), parameters, {}, expected)
        return _with_fault(self, made)


def _array(seed: int, place: int, shape: tuple[int, ...]) -> Array:
    return (integers(seed, place, shape, MOST) / 64).astype(np.float32)


def _int8(draw: Draw, seed: int) -> Case:
    kind = draw.kind
    shared: dict[str, Any] = {"reload": draw.use == SAVED, "options": draw.options}
    config, weights = config_of("int8", draw.fields), _array(seed, 1, kind.kernel)
    if kind.looked_up:
        back = _array(seed, 2, kind.kernel[::-1]) if kind.untied else None
        if reversed_of(kind, draw.fields):
            x = _array(seed, 0, (kind.inputs[0], kind.kernel[1]))
            return lay_reverse_case("drawn", draw.title, x, weights, back, config=config, **shared)
        tokens = integers(seed, 0, kind.inputs, kind.kernel[0] // 2) + kind.kernel[0] // 2
        return lay_embedding_case(
            "drawn", draw.title, tokens.astype(np.int32), weights, config=config,
            reversible=kind.family != EMBEDDING, reverse_embeddings=back, **shared,
        )  # fmt: skip
    x, dense = _array(seed, 0, kind.inputs), kind.family == DENSE
    return lay_int8_case(
        "drawn", draw.title, x, weights,
        _array(seed, 2, kind.kernel[1:]) if dense and seed % 2 else None,
        equation=kind.equation, activation="relu" if dense and seed % 3 == 0 else None,
        config=config, **shared,
    )  # fmt: skip


def _packed(draw: Draw, seed: int) -> Case:
    kind, fields = draw.kind, draw.fields
    bits, group = (fields[name] for name in ("weight_bits", "group_size"))
    bits, group = 4 if bits == OMIT else bits, 128 if group == OMIT else group
    n_in = int(np.prod([kind.kernel[a] for a in kind.contracted]))
    n_out = int(np.prod(kind.kernel)) // n_in
    g_idx = group_index(n_in, group)
    groups = int(g_idx.max()) + 1
    codes, zero = (
        (integers(seed, place, shape, 1000) % 2**bits).astype(np.uint8)
        for place, shape in ((1, (n_out, n_in)), (2, (n_out, groups)))
    )
    scale = (np.abs(integers(seed, 3, (n_out, groups), MOST - 1)) + 1) / 4096
    dense = kind.family == DENSE
    return lay_gptq_case(
        "drawn", draw.title, _array(seed, 0, kind.inputs), pack_codes(codes, bits, 0),
        scale.astype(np.float32), zero, g_idx,
        _array(seed, 4, (n_out,)) if dense and seed % 2 else None,
        kernel_shape=kind.kernel, bits=bits, equation=kind.equation,
        activation="relu" if dense and seed % 3 == 0 else None, reload=draw.use == SAVED,
        config=config_of("gptq", fields), options=draw.options,
    )  # fmt: skip


def _calibrated(draw: Draw, seed: int) -> Case:
    """Return the case of codes that GPTQ gives a layer; the certificate alone judges them."""
    kind = draw.kind
    return calibrated_case(
        "drawn", draw.title, _array(seed, 0, kind.inputs), _array(seed, 1, kind.kernel),
        config=config_of("calibrated", draw.fields), options=draw.options, equation=kind.equation,
    )  # fmt: skip


MAKERS = {"int8": _int8, "gptq": _packed, "calibrated": _calibrated}


def case_of(draw: Draw, seed: int) -> Case:
    """Return the case of a draw with arrays of a seed."""
    return _with_fault(draw, MAKERS[draw.mode](draw, seed))


def _with_fault(draw: Draw, good: Case) -> Case:
    """Return the case with the fault of a draw, which has to be refused; else the case itself."""
    fault = fault_of(draw.fields)
    if fault is None:
        return good
    config = faulty_config(draw.mode, draw.kind, draw.fields, good.parameters["config"])
    parameters = {**good.parameters, "config": config}
    if fault.calibrated_with:
        parameters["calibrated_with"] = {**parameters["calibrated_with"], **fault.calibrated_with}
    return refused(
        good.section, good.id, good.title, good.operation, fault.requirement, fault.error,
        parameters, dict(good.inputs),
    )  # fmt: skip
