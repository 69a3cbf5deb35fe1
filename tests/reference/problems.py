"""Problems that the tests of the reference share: generated ones, and those of the vectors."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantcheck.oracle import exact
from quantcheck.wire import cases as vectors
from quantcheck.wire.cases import Case
from quantref import GPTQConfig, GPTQResult
from quantref.inputs import Array

BITS = (2, 3, 4, 8)


@dataclass(frozen=True)
class Problem:
    """One question to GPTQ, in the words of the vectors."""

    weights: Array
    hessian: Array
    parameters: dict[str, Any]

    @property
    def config(self) -> GPTQConfig:
        return configured(self.parameters)

    @property
    def block_size(self) -> int:
        return int(self.parameters["block_size"])

    def exact(self) -> exact.ExactGPTQ:
        """Return the answer in rational arithmetic."""
        settings = {k: v for k, v in self.parameters.items() if k != "damping"}
        return exact.gptq(
            exact.fractions_of(self.weights.astype(np.float64).tolist()),
            exact.fractions_of(self.hessian.tolist()),
            damping=Fraction(self.parameters["damping"]),
            **settings,
        )


def configured(parameters: dict[str, Any]) -> GPTQConfig:
    """Return the config that a vector's parameters ask for."""
    return GPTQConfig(
        None,
        None,
        weight_bits=parameters["bits"],
        per_channel=parameters["per_channel"],
        hessian_damping=parameters["damping"],
        group_size=parameters["group_size"],
        symmetric=parameters["symmetric"],
        activation_order=parameters["activation_order"],
    )


def plain_config(**changes: Any) -> GPTQConfig:
    """Return a config of 2 bits, one group, no damping, with changes."""
    settings: dict[str, Any] = {"weight_bits": 2, "group_size": -1, "hessian_damping": 0.0}
    return GPTQConfig(None, None, **(settings | changes))


@cache
def cases(section: str | None = None) -> tuple[Case, ...]:
    """Return the vectors, of one section or all."""
    return tuple(c for c in vectors.load_all() if section is None or c.section == section)


def answered(section: str) -> list[Case]:
    """Return the vectors of a section that are not to be refused."""
    return [case for case in cases(section) if "outputs" in case.expected]


def problem_of(case: Case) -> Problem:
    return Problem(case.inputs["weights"], case.inputs["hessian"], case.parameters)


def normal_problem(
    seed: int, n_out: int, n_in: int, *, correlation: float = 1.0, **changes: Any
) -> Problem:
    """Return normal weights and a Hessian of tokens that share a common part."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 * n_in + 8, n_in))
    x += correlation * rng.normal(size=(len(x), 1))
    parameters = {
        "bits": 4, "symmetric": False, "per_channel": True, "group_size": -1,
        "activation_order": False, "damping": 0.01, "block_size": 128,
    }  # fmt: skip
    hessian = 2 / len(x) * x.T @ x
    weights = rng.normal(size=(n_out, n_in)).astype(np.float32)
    return Problem(weights, (hessian + hessian.T) / 2, parameters | changes)


def with_arrays(result: GPTQResult, **changes: Array) -> Any:
    """Return an answer with some of its arrays replaced: any object with the fields will do."""

    class Answer:
        codes, scale = result.codes, result.scale
        zero_point, g_idx = result.zero_point, result.g_idx

    for name, value in changes.items():
        setattr(Answer, name, value)
    return Answer()


def integer_arrays(shape: tuple[int, ...], spread: int) -> st.SearchStrategy[Array]:
    """Return arrays of integers in −spread … spread."""
    count = int(np.prod(shape))
    numbers = st.lists(st.integers(-spread, spread), min_size=count, max_size=count)
    return numbers.map(lambda values: np.array(values, dtype=np.float64).reshape(shape))


@st.composite
def hessians(draw: st.DrawFn, n_in: int, *, definite: bool) -> Array:
    """Return Hessians made from inputs: correlated, with dead and with tied columns."""
    count = draw(st.sampled_from([4, 16, 32]), label="tokens")
    x = draw(integer_arrays((count, n_in), 6), label="inputs") / 4
    kinds = draw(
        st.lists(
            st.sampled_from(["mixed", "mixed", "mixed", "free", "dead", "tied"]),
            min_size=n_in,
            max_size=n_in,
        ),
        label="kinds of columns",
    )
    for j, kind in enumerate(kinds[1:], start=1):
        if kind == "mixed":
            x[:, j] += x[:, j - 1] / 2
        elif kind == "tied":  # the same activity as the column before, in other tokens
            x[:, j] = np.roll(x[:, j - 1], 1)
    x = np.round(x * 64) / 64
    x[:, [kind == "dead" for kind in kinds]] = 0
    if definite:
        x = np.concatenate([x, np.eye(n_in), np.zeros((-(count + n_in) % 32, n_in))])
    return 2 * x.T @ x / 32


@st.composite
def problems(draw: st.DrawFn, *, largest: int = 20) -> Problem:
    """Return small problems with dyadic weights, every setting among them."""
    n_in = draw(st.integers(1, largest), label="n_in")
    n_out = draw(st.integers(1, 3), label="n_out")
    damping = draw(st.sampled_from([0.0, 2.0**-6, 0.01, 1.0]), label="damping")
    spread = draw(st.sampled_from([3, 40, 4000]), label="spread")
    weights = draw(integer_arrays((n_out, n_in), spread), label="weights") / 64
    parameters = {
        "bits": draw(st.sampled_from(BITS), label="bits"),
        "symmetric": draw(st.booleans(), label="symmetric"),
        "per_channel": draw(st.booleans(), label="per_channel"),
        "group_size": draw(st.one_of(st.just(-1), st.integers(1, n_in + 2)), label="group_size"),
        "activation_order": draw(st.booleans(), label="activation_order"),
        "damping": damping,
        "block_size": draw(st.integers(1, n_in), label="block_size"),
    }
    hessian = draw(hessians(n_in, definite=damping == 0), label="hessian")
    return Problem(weights.astype(np.float32), hessian, parameters)
