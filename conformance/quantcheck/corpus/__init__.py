"""The golden corpus: which cases there are, section by section; `generate` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from quantcheck.corpus.absmax import abs_cases
from quantcheck.corpus.affine_cases import aff_cases
from quantcheck.corpus.cal import cal_cases
from quantcheck.corpus.cal_models import cal_model_cases
from quantcheck.corpus.cfg import cfg_cases
from quantcheck.corpus.gptq_cases import gptq_cases
from quantcheck.corpus.hessian import hes_cases
from quantcheck.corpus.lay import lay_cases
from quantcheck.corpus.pack import pack_cases
from quantcheck.corpus.rnd import rnd_cases
from quantcheck.wire.cases import Case


def _calibration_cases() -> Iterator[Case]:
    """Yield windows and models."""
    yield from chain(cal_cases(), cal_model_cases())


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
}


def cases(section: str) -> Iterator[Case]:
    """Yield the cases of a section, without the mutants they kill."""
    yield from BUILDERS[section]()
