"""Mutants: the reference with one line changed, each a bug that somebody had or could have.

A vector lists the mutants it kills; regeneration fails when a listed one survives. Loading a
mutant compiles the sources anew under another package name: the reference itself is untouched.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

SOURCES = Path(__file__).parent


@dataclass(frozen=True)
class Mutant:
    """One changed line.

    Attributes
    ----------
    id : str
    module : str
        Module of this package, without the package's name.
    line, replacement : str
        The line (or its unique part) and what takes its place.
    effect : str
        What the mistake does.
    sections : tuple of str
        Sections whose vectors can tell it from the reference.
    """

    id: str
    module: str
    line: str
    replacement: str
    effect: str
    sections: tuple[str, ...]


def _m(id: str, module: str, line: str, replacement: str, effect: str, *sections: str) -> Mutant:
    return Mutant(id, module, line, replacement, effect, sections)


MUTANTS: tuple[Mutant, ...] = (
    _m("cfg-axis-lost", "absmax", '"axis": None if self.axis is None else list(self.axis)',
       '"axis": None',
       "The axis is lost when a quantizer is saved.", "cfg"),
    _m("cfg-default-axis", "config", "activation_quantizer = AbsMaxQuantizer(axis=-1)  #",
       "activation_quantizer = AbsMaxQuantizer()  #",
       "The default activation quantizer does not say which axis it means.", "cfg"),
    _m("cfg-activation-lost", "config",
       'deserialize_quantizer(config.get("activation_quantizer")),', '"default",',
       "A saved activation quantizer comes back as the default one.", "cfg"),
    _m("cfg-damping-unchecked", "config", "if not 0 <= self.hessian_damping <= 1:", "if False:",
       "Damping outside [0, 1] is taken.", "cfg"),
    _m("rnd-half-up", "rounding", "return np.rint(array)  #",
       "return np.floor(array + array.dtype.type(0.5))  #",
       "Ties go up instead of to the even integer.", "rnd"),
    _m("rnd-wrap", "rounding", "np.where(below, bounds.min, inside)",
       "np.where(below, bounds.max, inside)",
       "What lies below the dtype comes out at its top.", "rnd"),
    _m("abs-truncate", "absmax", "np.clip(np.rint(product), lo, hi)",
       "np.clip(np.trunc(product), lo, hi)",
       "Codes are truncated: errors of up to a whole step, towards zero.", "abs"),
    _m("abs-half-away", "absmax", "np.clip(np.rint(product), lo, hi)",
       "np.clip(np.sign(product) * np.floor(np.abs(product) + 0.5), lo, hi)",
       "Ties go away from zero, as C's round does.", "abs"),
    _m("abs-wrong-axis", "absmax", "axes = resolve_axis(axis, x.ndim, \"ABS-100\")",
       "axes = resolve_axis(axis if axis is None else tuple(a for a in range(x.ndim) "
       "if a not in resolve_axis(axis, x.ndim, '')), x.ndim, \"ABS-100\")",
       "The maximum is taken over the axes that should have been kept.", "abs"),
    _m("abs-no-epsilon", "absmax", "scale = hi / (amax + epsilon)",
       "scale = hi / np.where(amax == 0, 1, amax)",
       "Epsilon is left out: small slices get another scale.", "abs"),
    _m("abs-signed-max", "absmax", "np.max(np.abs(x.astype(np.float64)), axis=axes",
       "np.max(x.astype(np.float64), axis=axes",
       "The maximum instead of the largest magnitude: negative weights clip.", "abs"),
    _m("abs-clip-128", "absmax", "np.clip(np.rint(product), lo, hi)",
       "np.clip(np.rint(product), -hi - 1, hi)",
       "The lower clip is −hi − 1, whatever the value range says.", "abs"),
    _m("abs-scale-step", "absmax", "scale = hi / (amax + epsilon)  # [ABS-010]",
       "scale = (amax + epsilon) / hi",
       "The scale is a step, not a multiplier.", "abs"),
    _m("abs-dequantize-multiplies", "absmax", "q.astype(np.float64) / s.astype(np.float64)",
       "q.astype(np.float64) * s.astype(np.float64)",
       "Dequantization multiplies by a scale that is a multiplier.", "abs"),
    _m("aff-raw-range", "affine", "lo, hi = np.minimum(lo, 0.0), np.maximum(hi, 0.0)  # [AFF-010]",
       "lo, hi = lo, hi",
       "The range does not include zero: one-sign groups lose their zero-point.", "aff", "gptq"),
    _m("aff-symmetric-low", "affine", "m = np.maximum(np.abs(lo), hi)", "m = np.abs(lo)",
       "The symmetric range looks at the smallest weight alone.", "aff", "gptq"),
    _m("aff-maxq", "affine", "maxq = 2**bits - 1\n    lo, hi = np.asarray",
       "maxq = 2**bits\n    lo, hi = np.asarray",
       "2^b steps instead of 2^b − 1: scales too small.", "aff", "gptq"),
    _m("aff-symmetric-zero", "affine", "float(2 ** (bits - 1))", "float(2 ** (bits - 1) - 1)",
       "The symmetric zero-point is off by one.", "aff", "gptq"),
    _m("aff-zero-floor", "affine", "zero_point = np.rint(-lo / scale", "zero_point = np.floor(-lo / scale",
       "The zero-point is rounded down: off by one in half of all groups.", "aff", "gptq"),
    _m("aff-add-then-round", "affine", "np.clip(np.rint(w / scale) + zero_point, 0, maxq)",
       "np.clip(np.rint(w / scale + zero_point), 0, maxq)",
       "The zero-point is added before rounding: ties with an odd zero-point differ.",
       "aff", "gptq"),
    _m("aff-dequantize-no-zero", "affine", "q.astype(np.float64) - z.astype(np.float64)[:, g]",
       "q.astype(np.float64)",
       "The zero-point is forgotten on the way back.", "aff"),
    _m("aff-per-tensor", "affine", "    if not per_channel:\n        lo, hi = np.full_like",
       "    if True:\n        lo, hi = np.full_like",
       "All rows share one range though each should have its own.", "aff", "gptq"),
    _m("aff-group-tail", "affine", "end = min(start + size, n_in)  #",
       "end = n_in if n_in - start < 2 * size else start + size  #",
       "A short last group is merged into the range of the one before.", "aff", "gptq"),
    _m("pack-high-first", "packing", "packed |= fields[k::per_byte] << (bits * k)",
       "packed |= fields[k::per_byte] << (bits * (per_byte - 1 - k))",
       "Nibbles are swapped: the first code in the highest bits.", "pack"),
    _m("pack-pad-front", "packing", "[fields, np.zeros((padding, *fields.shape[1:]), np.uint8)]",
       "[np.zeros((padding, *fields.shape[1:]), np.uint8), fields]",
       "Padding goes before the codes instead of behind them.", "pack"),
    _m("pack-unsigned", "packing", "return ((codes ^ sign) - sign).view(np.int8)",
       "return codes.view(np.int8)",
       "Signed codes come back without their sign.", "pack"),
    _m("pack-last-axis", "packing", "fields = np.moveaxis(array, axis, 0).view(np.uint8)",
       "fields = np.moveaxis(array, axis, 0)[::-1].view(np.uint8)",
       "The packing axis is walked backwards.", "pack"),
    _m("hes-mean-not-doubled", "hessian", "self._sum * (2.0 / self._count)",
       "self._sum * (1.0 / self._count)",
       "The factor 2 is left out.", "hes"),
    _m("hes-sequences", "hessian", "if by_sequence and x.ndim > 1 else len(tokens)",
       "if x.ndim > 1 else len(tokens)",
       "N counts sequences instead of tokens.", "hes"),
    _m("hes-order-ascending", "hessian", "return np.argsort(-diagonal, kind=\"stable\")",
       "return np.argsort(diagonal, kind=\"stable\")",
       "The least active columns come first.", "hes", "gptq"),
    _m("hes-order-ties", "hessian", "return np.argsort(-diagonal, kind=\"stable\")",
       "return np.argsort(diagonal, kind=\"stable\")[::-1]",
       "A reversed ascending sort: ties come in descending order.", "hes", "gptq"),
    _m("hes-damping-sum", "hessian", "fraction * float(np.mean(diagonal))",
       "fraction * float(np.sum(diagonal))",
       "Damping by the trace instead of the mean.", "hes", "gptq"),
    _m("hes-damping-max", "hessian", "fraction * float(np.mean(diagonal))",
       "fraction * float(np.max(diagonal))",
       "Damping by the largest diagonal element.", "hes", "gptq"),
    _m("gptq-plain-rounding", "blocked", "e = (w - s * (q - z)) / self.U[j, j]",
       "e = 0.0 * w",
       "No error is fed back: plain rounding under the name of GPTQ.", "gptq"),
    _m("gptq-wrong-sign", "blocked", "e = (w - s * (q - z)) / self.U[j, j]",
       "e = (s * (q - z) - w) / self.U[j, j]",
       "Errors are added where they should be subtracted.", "gptq"),
    _m("gptq-inverse-rows", "problem", "if profile.propagation is Propagation.INVERSE_ROWS:",
       "if True:",
       "Errors travel along rows of the inverse instead of its Cholesky factor.", "gptq"),
    _m("gptq-hessian-rows", "problem", "rows = upper_inverse(factor)  #",
       "rows = np.ascontiguousarray(factor)  #",
       "The factor of the Hessian is used where that of its inverse belongs.", "gptq"),
    _m("gptq-no-diagonal", "blocked", "e = (w - s * (q - z)) / self.U[j, j]",
       "e = (w - s * (q - z))",
       "The error is not divided by the pivot.", "gptq"),
    _m("gptq-block-forgotten", "blocked", "W[b:] -= U[a:b, b:].T @ E[: b - a]  #",
       "W[b:] -= 0.0  #",
       "Errors stay inside their block.", "gptq"),
    _m("gptq-half-forgotten", "blocked", "self.W[middle:hi] -= self.U[lo:middle, middle:hi].T @ errors",
       "self.W[middle:hi] -= 0.0 * errors[0]",
       "Inside a block, the left half's errors never reach the right half.", "gptq"),
    _m("gptq-hessian-not-permuted", "hessian", "return self.damped[np.ix_(self.order, self.order)]",
       "return self.damped",
       "Weights are reordered, the Hessian is not.", "gptq"),
    _m("gptq-order-not-undone", "problem", "codes=codes[:, place].astype(np.uint8)",
       "codes=codes.astype(np.uint8)",
       "Codes are returned in processing order.", "gptq"),
    _m("gptq-g-idx-not-undone", "problem", "g_idx=g_idx[place]", "g_idx=g_idx",
       "Group indices are returned in processing order.", "gptq"),
    _m("gptq-static-groups", "blocked", "if profile.group_source is GroupSource.STATIC else W.T",
       "if True else W.T",
       "Groups take their range from the original weights.", "gptq"),
    _m("gptq-dead-kept", "problem", "if profile.dead_columns is DeadColumns.ZEROED:", "if False:",
       "Weights of dead columns stay and widen the range of their group.", "gptq"),
    _m("gptq-dead-unmended", "hessian", "h[dead, dead] = 1.0  #", "h[dead, dead] = 1e-6  #",
       "Dead columns get a tiny diagonal, so that the mean diagonal is another.", "hes"),
)  # fmt: skip


def mutated(mutant: Mutant) -> str:
    """Return the source of the mutant's module with its one line changed.

    Raises
    ------
    LookupError
        The line does not stand exactly once in the module.
    """
    source = (SOURCES / f"{mutant.module}.py").read_text(encoding="utf-8")
    if source.count(mutant.line) != 1:
        count = source.count(mutant.line)
        raise LookupError(
            f"mutant {mutant.id}: its line stands {count} times in {mutant.module}.py"
        )
    return source.replace(mutant.line, mutant.replacement)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports this package's sources under another name, one module changed."""

    def __init__(self, alias: str, mutant: Mutant) -> None:
        self.alias, self.mutant = alias, mutant

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.alias and not name.startswith(self.alias + "."):
            return None
        return importlib.util.spec_from_loader(name, self, is_package=name == self.alias)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.removeprefix(self.alias).lstrip(".")
        if name == self.mutant.module:
            source = mutated(self.mutant)
        elif name:
            source = (SOURCES / f"{name}.py").read_text(encoding="utf-8")
        else:
            return  # the package itself: imports nothing
        source = source.replace("from quantref.", f"from {self.alias}.")
        exec(compile(source, f"<{self.alias}.{name}>", "exec"), module.__dict__)


@dataclass(frozen=True)
class LoadedMutant:
    """A mutant that answers questions like the reference does."""

    mutant: Mutant
    answer: Callable[[dict[str, Any]], dict[str, Any]]


def find(identity: str) -> Mutant:
    """Return the mutant of an id.

    Examples
    --------
    >>> find("pack-high-first").module
    'packing'
    """
    for mutant in MUTANTS:
        if mutant.id == identity:
            return mutant
    raise LookupError(f"no mutant {identity!r}; there are {', '.join(m.id for m in MUTANTS)}")


def load(mutant: Mutant | str) -> LoadedMutant:
    """Return the reference with one line changed, as a target.

    Examples
    --------
    >>> x = {"dtype": "float32", "shape": [1], "data": [0.5]}
    >>> question = {"id": "a", "operation": "round_half_even", "parameters": {}, "inputs": {"x": x}}
    >>> load("rnd-half-up").answer(question)["outputs"]["values"]["data"]
    [1.0]
    """
    chosen = find(mutant) if isinstance(mutant, str) else mutant
    alias = "quantref_mutant_" + chosen.id.replace("-", "_")
    finder = _Finder(alias, chosen)
    sys.meta_path.insert(0, finder)
    try:
        operations = importlib.import_module(f"{alias}.operations")
    finally:
        sys.meta_path.remove(finder)
    return LoadedMutant(chosen, operations.answer)
