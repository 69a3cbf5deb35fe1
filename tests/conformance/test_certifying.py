"""Certificates that share factors, and end at the first failure, say what whole ones say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.reference.problems import cases

from quantcheck.judge.certifying import Certifying
from quantcheck.wire.cases import Case
from quantcheck.wire.configs import gptq_config
from quantref import DEFAULT_PROFILE
from quantref.fast.certificate import certify
from quantref.rules import dead_kept, original_weights, rows_of_inverse

CASES = [c for c in cases("gptq") if "outputs" in c.expected and not c.by_recipe][::4]
PROFILES = (
    DEFAULT_PROFILE,
    replace(DEFAULT_PROFILE, rows=rows_of_inverse),
    replace(DEFAULT_PROFILE, base=original_weights),
    replace(DEFAULT_PROFILE, rows=lambda U: np.diag(U.diagonal())),
    replace(DEFAULT_PROFILE, dead=dead_kept),
)


def changed(outputs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the outputs, and outputs with a wrong code, wrong codes, a wrong scale, a shift."""
    one, all_codes = outputs["codes"].copy(), outputs["codes"] ^ 1
    one[0, -1] ^= 1
    scale, zero = outputs["scale"] * np.float32(1.01), outputs["zero_point"] ^ 1
    wrong = [{"codes": one}, {"codes": all_codes}, {"scale": scale}, {"zero_point": zero}]
    return [outputs, *({**outputs, **part} for part in wrong)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_same_checks_fail_as_in_whole_certificates(case: Case) -> None:
    weights, hessian = case.inputs["weights"], case.inputs["hessian"]
    config, size = gptq_config(case.parameters), case.parameters["block_size"]
    certifying = Certifying()
    for outputs in changed(case.expected["outputs"]):
        answer = SimpleNamespace(**outputs)
        for profile in PROFILES:
            given: dict[str, Any] = {"profile": profile, "block_size": size}
            given["unit_roundoff"] = 2.0**-24
            whole = certify(weights, hessian, answer, config, **given).failures
            failing = list(certifying.failing(weights, hessian, answer, config, **given))
            assert [check.name for check in failing] == [check.name for check in whole]
            assert [check.message for check in failing] == [check.message for check in whole]
