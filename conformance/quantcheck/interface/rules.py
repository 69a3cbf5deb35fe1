"""Reasons of cells without a case: rules that rule cells out, and gaps that nothing asks yet.

The first rule that applies gives the reason. If none does, the first gap does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from quantcheck.interface import axes
from quantcheck.interface.kinds import BAD_AXIS, Kind
from quantcheck.interface.signatures import Argument, Signature
from quantcheck.wire.policies import DTYPE_POLICIES


@dataclass(frozen=True, eq=False)
class Row:
    """An argument, a kind of its value, and an operation that it reaches; each is made once."""

    signature: Signature
    argument: Argument
    kind: Kind
    operation: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Names of the four."""
        return self.signature.name, self.argument.name, self.kind.name, self.operation

    @property
    def gptq(self) -> bool:
        """Whether the row is one of GPTQ alone."""
        return self.signature.name == "GPTQConfig" or self.kind.name in ('"gptq"', "a GPTQConfig")

    @property
    def int8(self) -> bool:
        """Whether the row is one of int8 alone; GPTQ needs a config."""
        quantizers = ("AbsMaxQuantizer", "Int8QuantizationConfig")
        no_config = self.argument.name == "config" and self.kind.name in ("left out", "None")
        named = self.kind.name in ('"int8"', "an Int8QuantizationConfig")
        return self.signature.name in quantizers or no_config or named


@dataclass(frozen=True)
class Cell:
    """A row with a policy, a kind of layer, and a use of the result."""

    row: Row
    policy: str
    layer: str
    use: str

    @property
    def with_layers(self) -> bool:
        """Whether the operation has layers."""
        return self.row.operation in axes.WITH_LAYERS

    @property
    def of_one_layer(self) -> bool:
        """Whether the operation has one layer, which is in no model."""
        return self.row.operation in axes.OF_ONE_LAYER

    @property
    def int8_alone(self) -> bool:
        """Whether no layer of GPTQ can have this: the row, the kind of layer, or the use."""
        made = self.use == axes.MADE and self.of_one_layer
        return self.row.int8 or self.layer in axes.LOOKED_UP or made

    def of_weights(self, *kinds: str) -> bool:
        """Tell whether a weight quantizer of a layer stores an axis of one of these kinds."""
        key = (self.row.operation, self.row.argument.name)
        return key == ("weights", "axis") and self.row.kind.name in kinds


@dataclass(frozen=True)
class Covered:
    """What cases and properties cover, for the gaps that depend on it."""

    rows: Collection[Row]


@dataclass(frozen=True)
class Rule:
    """Rules cells out: they make no sense, or SPEC.md leaves them out."""

    reason: str
    holds: Callable[[Cell], bool]


@dataclass(frozen=True)
class Gap:
    """Says of cells that make sense what no question asks."""

    reason: str
    holds: Callable[[Cell, Covered], bool]


FLOATLESS = ("described", "windows")
NO_FLOATS = ("pack_int4", "unpack_int4")
USES_OF = {
    "described": (axes.MADE, axes.SERIALIZED),
    "array": (axes.MADE, axes.COMPILED),
    "windows": (axes.MADE,),
    "algorithm": (axes.MADE,),
}

FLOAT16 = tuple(name for name, p in DTYPE_POLICIES.items() if p.compute == "float16")
HALF_VARIABLES = tuple(name for name, p in DTYPE_POLICIES.items() if p.variable != "float32")
OTHER_CODES = ("uint8", "int16", "uint16", "int32", "uint32", "wider than int8")
REFUSED_BY_LAYERS = (BAD_AXIS.name, "a config of the other mode")
ONE_AXIS = (
    "one axis, counted from the front", "one axis, counted from the end", "one axis in a tuple",
)  # fmt: skip


def _several(layer: str) -> bool:
    """Tell whether the kernel of a kind of layer has several contracted axes."""
    return "contracted axes" in layer


RULES = (
    Rule(
        "Outside SPEC.md, which has AbsMax, groups with zero-points, GPTQ, and packing of 4 bits.",
        lambda c: c.row.signature.outside,
    ),
    Rule(
        "No layer takes part in the operation.",
        lambda c: not c.with_layers and c.layer != axes.NO_LAYER,
    ),
    Rule("The operation needs a layer.", lambda c: c.with_layers and c.layer == axes.NO_LAYER),
    Rule(
        "An array has one dtype; a mixed policy is one of layers.",
        lambda c: not c.with_layers and c.policy.startswith("mixed"),
    ),
    Rule(
        "No float takes part, so the policy has no effect; the cell of float32 stands for all.",
        lambda c: (
            (c.row.operation in FLOATLESS or c.row.signature.name in NO_FLOATS)
            and c.policy != "float32"
        ),
    ),
    Rule(
        "A refused value leaves no result to use.",
        lambda c: c.row.kind.refused and c.use != axes.MADE,
    ),
    Rule(
        "The argument has its default in a compiled function, which computes nothing in NumPy.",
        lambda c: (
            c.row.argument.name == "to_numpy"
            and c.row.kind.name != "left out"
            and c.use == axes.COMPILED
        ),
    ),
    Rule(
        "A Quantizer of the base class returns its input (CFG-010): it quantizes nothing.",
        lambda c: (
            c.row.operation == "array"
            and c.row.signature.name in ("Quantizer", "Quantizer.__call__")
        ),
    ),
    Rule(
        "Windows are those of a dataset; a config has None when it is made from its description.",
        lambda c: (
            c.row.operation == "windows"
            and c.row.argument.name == "dataset"
            and c.row.kind.name == "None"
        ),
    ),
    Rule(
        "Layers have no JSON: a description has no layer structure (section 1).",
        lambda c: (
            c.row.operation == "described"
            and c.row.argument.name == "quantization_layer_structure"
            and c.row.kind.name != "left out"
        ),
    ),
    Rule(
        "Axes fit an array, and a description has none: a call refuses them.",
        lambda c: c.row.operation == "described" and c.row.kind.name == BAD_AXIS.name,
    ),
    Rule(
        "A config has its defaults before windows are drawn or weights are quantized: see where it"
        " is described.",
        lambda c: c.row.operation in ("windows", "algorithm") and c.row.kind.name == "left out",
    ),
    Rule(
        "The result is neither a layer nor a model: it has no training, codes, file or clone.",
        lambda c: c.use not in USES_OF.get(c.row.operation, axes.USES),
    ),
    Rule(
        "A layer that is quantized by itself is in no model.",
        lambda c: c.of_one_layer and c.layer in axes.OF_MODELS,
    ),
    Rule(
        "GPTQ quantizes Dense and EinsumDense alone.",
        lambda c: c.row.gptq and c.layer in axes.LOOKED_UP,
    ),
    Rule(
        "A config refuses the value when it is made, before a layer has it: see that operation.",
        lambda c: (
            c.with_layers
            and c.row.kind.refused
            and c.row.kind.name not in REFUSED_BY_LAYERS
            and c.row.signature.name != "GPTQConfig"
        ),
    ),
    Rule(
        "The axis that an activation quantizer stores has no effect in a layer: every axis fits.",
        lambda c: c.row.operation == "activations" and c.row.kind.name == BAD_AXIS.name,
    ),
    Rule(
        "An int8 layer is refused in float16 (LAY-230), which has no room for sums of its codes.",
        lambda c: c.with_layers and c.policy in FLOAT16 and not c.row.gptq and c.int8_alone,
    ),
    Rule(
        "A layer is given the codes of GPTQ; they are made of weights and a Hessian.",
        lambda c: (
            c.row.gptq
            and c.row.operation == "layer"
            and c.use == axes.MADE
            and not c.row.kind.refused
        ),
    ),
    Rule(
        "A Quantizer of the base class gives no codes: a layer refuses it (LAY-150).",
        lambda c: c.with_layers and c.row.kind.name == "a Quantizer of the base class",
    ),
    Rule(
        "An Int8QuantizationConfig refuses a weight quantizer of codes other than int8 (CFG-060).",
        lambda c: c.row.operation == "weights" and c.row.kind.name in OTHER_CODES,
    ),
    Rule(
        "GPTQ, which alone quantizes in float16, does so with the layers of blocks: see Dense in a"
        " block of a model.",
        lambda c: (
            c.row.operation == "model"
            and c.layer == axes.DENSE
            and (c.row.gptq or c.policy in FLOAT16)
        ),
    ),
    Rule(
        "Without a dataset and a tokenizer nothing is calibrated: a config has None when it is made"
        " from its description.",
        lambda c: (
            c.row.operation == "model"
            and c.row.argument.name in ("dataset", "tokenizer")
            and c.row.kind.name == "None"
        ),
    ),
    Rule(
        "Where variables have half precision, scales are stored in few digits, after which no"
        " certificate of codes holds (CAL-170); weights of half precision are asked about where"
        " they are quantized with a Hessian.",
        lambda c: (
            c.row.operation == "model"
            and (c.row.gptq or c.policy in FLOAT16)
            and c.use == axes.MADE
            and not c.row.kind.refused
            and c.policy in HALF_VARIABLES
        ),
    ),
    Rule(
        "So many axes do not fit the weights of this layer, which refuses them (LAY-170).",
        lambda c: (
            c.of_weights("an empty tuple")
            or (c.of_weights(*ONE_AXIS) and (_several(c.layer) or c.layer == axes.UNTIED))
            or (c.of_weights("several axes") and not _several(c.layer))
        ),
    ),
)


GAPS = (
    Gap(
        "Not asked: no question gives this value in this operation.",
        lambda c, covered: c.row not in covered.rows,
    ),
    Gap(
        "Not asked: the value is asked in this operation, but not with this policy, layer and use.",
        lambda _, __: True,
    ),
)


def ruled_out(cell: Cell) -> Rule | None:
    """Return the first rule that rules a cell out."""
    return next((rule for rule in RULES if rule.holds(cell)), None)


def gap_of(cell: Cell, covered: Covered) -> Gap:
    """Return the first gap that a cell is in."""
    return next(gap for gap in GAPS if gap.holds(cell, covered))
