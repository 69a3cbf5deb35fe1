"""Semantic profiles: the points on which implementations of GPTQ disagree, each a named field.

`DEFAULT_PROFILE` is normative (SPEC.md, appendix A sets the profiles side by side). The other
profiles describe what released implementations declare, so that each can be judged by its own
semantics.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from quantref.errors import ConfigError


class RangeRule(StrEnum):
    """Which interval a group's parameters cover."""

    INCLUDES_ZERO = "includes zero"
    RAW = "raw min and max"


class DegenerateRule(StrEnum):
    """When the interval is replaced by one of positive length."""

    ZERO_ONLY = "lo = hi = 0 becomes -1, +1"
    ANY_EQUAL = "lo = hi becomes lo - 1, hi + 1"
    SCALE_FLOOR = "no replacement, the scale has a floor of 1e-8"


class SymmetricRule(StrEnum):
    """How the interval is mirrored when quantization is symmetric."""

    ALWAYS = "-m, +m"
    IF_NEGATIVE = "lo becomes -m only if lo < 0, hi becomes m"


class ScaleRounding(StrEnum):
    """How often the scale is rounded to float32."""

    ONCE = "once, after the division"
    TWICE = "the range, then the quotient"


class ZeroPointRule(StrEnum):
    """What happens to a zero-point outside 0 … maxq."""

    CLIPPED = "clipped to 0 … maxq"
    WRAPPED = "cast to uint8 modulo 256"


class CodeRule(StrEnum):
    """Whether the zero-point is added before or after rounding."""

    ROUND_THEN_ADD = "rint(w / s) + z"
    ADD_THEN_ROUND = "rint(w / s + z)"


class GroupSource(StrEnum):
    """The weights from which a group's parameters are taken."""

    EARLIER_BLOCKS = "errors of all earlier blocks applied"
    LIVE = "errors of all earlier columns applied"
    STATIC = "original weights"


class WholeGroup(StrEnum):
    """When a group that is larger than the block gets its parameters."""

    ONCE = "at the group's first column"
    PER_BLOCK = "anew at every block"


class RaggedGroup(StrEnum):
    """What happens to the last group when the group size does not divide n_in."""

    KEPT = "shorter last group"
    ZERO_PADDED = "padded with zeros before the range is taken"
    REFUSED = "refused"


class OrderRule(StrEnum):
    """How the activation order breaks ties, and of which diagonal it is taken."""

    STABLE = "descending diagonal, ties by ascending index"
    TIES_DESCENDING = "descending diagonal, ties by descending index"
    DAMPED_FLOAT32 = "descending damped diagonal rounded to float32"


class DeadColumns(StrEnum):
    """What becomes of the weights of columns whose H_jj is 0."""

    ZEROED = "set to 0 before ranges are taken"
    KEPT = "kept"


class TokenCount(StrEnum):
    """What N counts in H = (2 / N) sum of x xᵀ."""

    TOKENS = "tokens"
    SEQUENCES = "sequences (first axis of a batch)"


class Propagation(StrEnum):
    """Which rows carry a column's error to the later columns."""

    CHOLESKY = "rows of U, the Cholesky factor of the inverse"
    INVERSE_ROWS = "rows of the inverse itself"


class NotPositiveDefinite(StrEnum):
    """What happens when the damped Hessian has no Cholesky factor."""

    ERROR = "an error that names damping and pivot"
    RETRY = "damping grows tenfold until it succeeds"
    IDENTITY = "the identity takes its place"


class FeedbackDtype(StrEnum):
    """The precision in which weights carry their compensation."""

    AT_LEAST_FLOAT32 = "at least float32"
    STORAGE = "the dtype that the weights are stored in"


class GroupIndexDtype(StrEnum):
    """The dtype of g_idx."""

    INT32 = "int32"
    FRACTIONAL = "float32, index / group size"


class PackingRule(StrEnum):
    """How codes and zero-points are stored."""

    KERAS = "bytes, low field first, along axis 0"
    INT32_WORDS = "int32 words along n_in, z - 1 stored"


@dataclass(frozen=True)
class Profile:
    """One choice for every point of disagreement; the defaults are normative.

    Raises
    ------
    ConfigError
        A field is not of its enumeration, or the block size is not a positive integer.

    Examples
    --------
    >>> Profile().block_size, Profile().propagation is Propagation.CHOLESKY
    (128, True)
    """

    name: str = "quantref default"
    range_rule: RangeRule = RangeRule.INCLUDES_ZERO
    degenerate: DegenerateRule = DegenerateRule.ZERO_ONLY
    symmetric_rule: SymmetricRule = SymmetricRule.ALWAYS
    scale_rounding: ScaleRounding = ScaleRounding.ONCE
    zero_point_rule: ZeroPointRule = ZeroPointRule.CLIPPED
    code_rule: CodeRule = CodeRule.ROUND_THEN_ADD
    group_source: GroupSource = GroupSource.EARLIER_BLOCKS
    whole_group: WholeGroup = WholeGroup.ONCE
    ragged: RaggedGroup = RaggedGroup.KEPT
    order_rule: OrderRule = OrderRule.STABLE
    dead_columns: DeadColumns = DeadColumns.ZEROED
    token_count: TokenCount = TokenCount.TOKENS
    propagation: Propagation = Propagation.CHOLESKY
    not_positive_definite: NotPositiveDefinite = NotPositiveDefinite.ERROR
    feedback_dtype: FeedbackDtype = FeedbackDtype.AT_LEAST_FLOAT32
    g_idx_dtype: GroupIndexDtype = GroupIndexDtype.INT32
    packing: PackingRule = PackingRule.KERAS
    block_size: int = 128

    def __post_init__(self) -> None:
        for field in fields(self):
            value, default = getattr(self, field.name), field.default
            if isinstance(default, StrEnum) and not isinstance(value, type(default)):
                expected = f"{field.name} to be a {type(default).__name__}"
                raise ConfigError(expected, f"{value!r}", "GPTQ-130")
        size = self.block_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigError("block_size to be a positive integer", f"{size!r}", "GPTQ-130")


DEFAULT_PROFILE = Profile()

ORIGINAL_PROFILE = Profile(
    name="original GPTQ code",
    symmetric_rule=SymmetricRule.IF_NEGATIVE,
    scale_rounding=ScaleRounding.TWICE,
    token_count=TokenCount.SEQUENCES,
    packing=PackingRule.INT32_WORDS,
)
"""What the code published with the paper does (arXiv 2210.17323); its sort is not stable."""

KERAS_PROFILE = Profile(
    name="Keras 3.15",
    range_rule=RangeRule.RAW,
    degenerate=DegenerateRule.ANY_EQUAL,
    symmetric_rule=SymmetricRule.IF_NEGATIVE,
    scale_rounding=ScaleRounding.TWICE,
    zero_point_rule=ZeroPointRule.WRAPPED,
    code_rule=CodeRule.ADD_THEN_ROUND,
    whole_group=WholeGroup.PER_BLOCK,
    ragged=RaggedGroup.ZERO_PADDED,
    order_rule=OrderRule.DAMPED_FLOAT32,
    dead_columns=DeadColumns.KEPT,
    propagation=Propagation.INVERSE_ROWS,
    g_idx_dtype=GroupIndexDtype.FRACTIONAL,
)
"""What Keras 3.15 does with float32 layers, read from its source; half-precision layers carry
weights in their own dtype (`FeedbackDtype.STORAGE`)."""
