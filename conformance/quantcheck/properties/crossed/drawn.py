"""Properties that draw from the full cross of kinds of layer, policies, uses and arguments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from quantcheck.corpus.draw import refused
from quantcheck.properties import Property, Sample, Sizes, named, single
from quantcheck.properties.crossed import refusals
from quantcheck.properties.crossed.cases import Draw, case_of
from quantcheck.properties.crossed.domain import (
    SAVED,
    Domain,
    axis_choices,
    calibrated_choices,
    gptq_choices,
    int8_choices,
    placed_choices,
)
from quantcheck.properties.crossed.kinds import LAYER_KINDS, WITH_KERNEL
from quantcheck.properties.sizes import SEEDS
from quantcheck.wire.cases import Case
from quantcheck.wire.policies import (
    CALLED,
    CALLS,
    CLONED,
    COMPILED,
    COMPILED_TRAINING,
    COPIED,
    DTYPE_POLICIES,
    LAYER_PLACES,
    SERIALIZED,
    TRAINING,
    TWICE,
    policy_of,
    use_of,
)

EAGER = (CALLED, TRAINING, CLONED, SERIALIZED, TWICE)
IN_FUNCTION = (COMPILED, COMPILED_TRAINING)
EVERY_USE = (*EAGER, *IN_FUNCTION, SAVED)
ALL = tuple(DTYPE_POLICIES)
WIDE = tuple(name for name, policy in DTYPE_POLICIES.items() if policy.compute != "float16")
NARROW = tuple(name for name in ALL if name not in WIDE)
"""Policies in which int8 layers compute, and those in which they are refused."""


def _int8(name: str, uses: tuple[str, ...]) -> Domain:
    return Domain(f"prop-lay-crossed-{name}", "int8", LAYER_KINDS, WIDE, uses, int8_choices)


def _placed(name: str, uses: tuple[str, ...]) -> Domain:
    identity = f"prop-lay-placed-{name}"
    return Domain(identity, "int8", LAYER_KINDS, WIDE, uses, placed_choices, LAYER_PLACES[1:])


def _gptq(name: str, uses: tuple[str, ...]) -> Domain:
    return Domain(f"prop-lay-crossed-{name}", "gptq", WITH_KERNEL, ALL, uses, gptq_choices)


OF_BLOCKS = LAYER_PLACES[2:]
"""The places of layers that GPTQ quantizes."""


def _calibrated(name: str, uses: tuple[str, ...]) -> Domain:
    identity = f"prop-lay-placed-{name}"
    return Domain(identity, "gptq", WITH_KERNEL, ALL, uses, calibrated_choices, OF_BLOCKS)


FLOAT32_VARIABLES = tuple(n for n, p in DTYPE_POLICIES.items() if p.variable == "float32")
READ = Domain("prop-cal-crossed", "calibrated", WITH_KERNEL, FLOAT32_VARIABLES, (CALLED,),
              calibrated_choices, OF_BLOCKS)  # fmt: skip
REFUSED = (
    Domain("prop-lay-crossed-refused-int8", "int8", LAYER_KINDS, WIDE, (CALLED,), refusals.INT8),
    Domain("prop-lay-crossed-refused-gptq", "gptq", WITH_KERNEL, ALL, (CALLED,), refusals.GPTQ),
    Domain("prop-lay-placed-refused", "int8", LAYER_KINDS, WIDE, (CALLED,), refusals.PLACED,
           LAYER_PLACES[1:]),
    Domain("prop-cal-crossed-refused", "calibrated", WITH_KERNEL, ALL, (CALLED,),
           refusals.CALIBRATED, OF_BLOCKS),
)  # fmt: skip
"""Faults, of which every one has to be refused."""
AXIS = Domain("prop-lay-crossed-axis", "int8", LAYER_KINDS, WIDE, EVERY_USE, axis_choices)
DOMAINS = (
    _int8("int8", EAGER),
    _gptq("gptq", EAGER),
    _int8("int8-compiled", IN_FUNCTION),
    _gptq("gptq-compiled", IN_FUNCTION),
    _int8("int8-saved", (SAVED,)),
    _gptq("gptq-saved", (SAVED,)),
    AXIS,
    _placed("int8", EAGER),
    _placed("int8-compiled", IN_FUNCTION),
    _placed("int8-saved", (SAVED,)),
    _calibrated("gptq", EAGER),
    _calibrated("gptq-compiled", IN_FUNCTION),
    _calibrated("gptq-saved", (SAVED,)),
    *REFUSED,
    READ,
)
"""The domains, in the order of their properties."""


@st.composite
def draws(draw: Any, domain: Domain) -> Draw:
    """Draw one point of a domain; families of layers are equally likely."""
    families = sorted({kind.family for kind in domain.kinds})
    family = draw(st.sampled_from(families))
    kind = draw(st.sampled_from([kind for kind in domain.kinds if kind.family == family]))
    choices = domain.choices(kind)
    return Draw(
        domain.mode,
        kind,
        draw(st.sampled_from(domain.policies)),
        draw(st.sampled_from(domain.uses)),
        {name: draw(st.sampled_from(values)) for name, values in choices.items()},
        draw(st.sampled_from(domain.places)) if len(domain.places) > 1 else domain.places[0],
    )


def _cases(domain: Domain) -> st.SearchStrategy[Case]:
    return st.builds(case_of, draws(domain), st.integers(0, SEEDS - 1))


@st.composite
def _in_float16(draw: Any, _: Sizes) -> Case:
    """Draw an int8 layer whose policy computes in float16."""
    domain = Domain("", "int8", LAYER_KINDS, NARROW, (CALLED,), int8_choices)
    case = draw(_cases(domain))
    return refused(
        "lay", "drawn", case.title, case.operation, "LAY-230", "DTypeError", case.parameters,
        dict(case.inputs),
    )  # fmt: skip


# The first requirement is the one that a refusal breaks.
RIGHT = ("LAY-160", "LAY-010", "LAY-030", "LAY-040", "LAY-050", "LAY-060", "LAY-070", "LAY-080")
PACKED = ("LAY-110", "LAY-090", "LAY-180", "LAY-050")
USED = ("LAY-220", "LAY-210", "LAY-200", "LAY-240")
FILED = ("LAY-130", "LAY-140", "LAY-220")


UNAXED = ("LAY-170", *RIGHT, *USED, *FILED[:2])


ROWS = ("embedding_int8", "reversible_embedding_int8")


def spoken_of(case: Case, requirements: tuple[str, ...]) -> tuple[str, ...]:
    """Return the requirements that the question of a draw is about; those of a fault are its own.

    A target that answers questions about float32 layers alone, and passes them, has shown nothing
    about half precision, copies or files.
    """
    if "refused" in case.expected:
        return case.requirements
    asked = case.parameters
    rows = case.operation in ROWS
    about = {
        "LAY-060": rows and not asked.get("reverse"),
        "LAY-070": rows and asked.get("reverse") and asked.get("tie_weights"),
        "LAY-080": rows and asked.get("tie_weights") is False,
        "LAY-130": asked.get("reload"),
        "LAY-140": asked.get("reload"),
        "LAY-200": use_of(asked) in COPIED,
        "LAY-210": use_of(asked) in CALLS,
        "LAY-220": policy_of(asked).half,
        "LAY-240": use_of(asked) == TWICE,
    }
    return tuple(name for name in requirements if about.get(name, True))


def _property(domain: Domain, title: str, requirements: tuple[str, ...], examples: int) -> Property:
    def sample(case: Case) -> Sample:
        about = spoken_of(case, requirements)
        return Sample((named(replace(case, requirements=about), domain.identity),))

    def samples(_: Sizes) -> st.SearchStrategy[Sample]:
        return _cases(domain).map(sample)

    return Property(domain.identity, title, requirements, samples, examples)


TOPICS = (
    ("Int8 layers of every kind, policy, use and config.", (*RIGHT, *USED), 16),
    ("Packed layers of every kind, policy, use and config.", (*PACKED, *USED), 14),
    ("Int8 layers called in a compiled function.", (*RIGHT, *USED[:2]), 2),
    ("Packed layers called in a compiled function.", (*PACKED, *USED[:2]), 2),
    ("Int8 layers saved, and loaded in a fresh process.", (*FILED, *RIGHT), 1),
    ("Packed layers saved, and loaded in a fresh process.", (*FILED, *PACKED), 1),
    (
        "Weight quantizers without an axis get that of the kernel.",
        ("LAY-170", *RIGHT, *USED, *FILED[:2]),
        3,
    ),
    ("Int8 layers quantized with the model they are in.", (*RIGHT, "LAY-250", *USED), 12),
    ("Int8 layers of models called in a compiled function.", (*RIGHT, "LAY-250", *USED[:2]), 1),
    ("Int8 layers of models, saved with them.", (*FILED, *RIGHT, "LAY-250"), 1),
    ("Packed layers of models that were calibrated.", (*PACKED, "LAY-250", "CAL-090", *USED), 8),
    (
        "Packed layers of models called in a compiled function.",
        (*PACKED, "LAY-250", "CAL-090", *USED[:2]),
        1,
    ),
    ("Packed layers of models, saved with them.", (*FILED, *PACKED, "LAY-250", "CAL-090"), 1),
    ("Int8 layers refuse other axes, and configs of the other mode.", ("LAY-150", "LAY-170"), 4),
    ("Packed layers refuse settings outside their domain.", ("CFG-080",), 2),
    ("Models refuse configs of the other mode.", ("LAY-150",), 3),
    (
        "Models refuse settings and data that calibrate nothing.",
        ("CFG-080", "LAY-150", "CAL-080", "CAL-160", "CAL-180"),
        8,
    ),
    (
        "The codes that calibration gives layers of every kind.",
        ("CAL-140", "CAL-090", "CAL-100", "CAL-110"),
        6,
    ),
)
MADE = tuple(_property(domain, *topic) for domain, topic in zip(DOMAINS, TOPICS, strict=True))
CALIBRATED = tuple(made for made in MADE if made.section == "cal")
"""Those of section CAL."""
PROPERTIES = (
    *(made for made in MADE if made.section == "lay"),
    single("prop-lay-float16", "An int8 layer does not compute in float16.",
           ("LAY-230",), _in_float16, 3),
)  # fmt: skip
