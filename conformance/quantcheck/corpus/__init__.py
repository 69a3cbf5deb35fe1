"""The cases of the golden vectors, section by section; `generate` writes the vectors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from quantcheck.corpus.absmax import abs_cases
from quantcheck.corpus.affine.cases import aff_cases
from quantcheck.corpus.cal.calibrated import cal_calibrated_cases
from quantcheck.corpus.cal.models import cal_model_cases
from quantcheck.corpus.cal.windows import cal_cases
from quantcheck.corpus.cfg import cfg_cases
from quantcheck.corpus.gptq.plain import gptq_cases
from quantcheck.corpus.hessian import hes_cases
from quantcheck.corpus.int4 import four_cases
from quantcheck.corpus.int4_configs import int4_config_cases
from quantcheck.corpus.lay.cases import lay_cases
from quantcheck.corpus.pack import pack_cases
from quantcheck.corpus.rnd import rnd_cases
from quantcheck.wire.cases import Case


def _calibration_cases() -> Iterator[Case]:
    """Yield the cases of calibration windows and of models."""
    yield from chain(cal_cases(), cal_model_cases(), cal_calibrated_cases())


def _four_bit_cases() -> Iterator[Case]:
    """Yield the cases of kernels in groups and of their config."""
    yield from chain(four_cases(), int4_config_cases())


BUILDERS = {
    "cfg": cfg_cases,
    "rnd": rnd_cases,
    "aff": aff_cases,
    "abs": abs_cases,
    "pack": pack_cases,
    "hes": hes_cases,
    "gptq": gptq_cases,
    "lay": lay_cases,
    "cal": _calibration_cases,
    "four": _four_bit_cases,
}


def cases(section: str) -> Iterator[Case]:
    """Yield the cases of a section; their lists of killed mutants are empty."""
    yield from BUILDERS[section]()
