"""Other languages make the bytes of the recipes, from the formulas of SPEC.md alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantcheck.report.reproduction import keras_lines
from quantcheck.wire import cases as vectors
from quantcheck.wire.cases import Case
from quantcheck.wire.recipes import WeightsRule, digest

from .recipe_cases import DEFAULT, SIZES, recipes

pytestmark = pytest.mark.requirement("VEC-080")

C = r"""
// n_out > 0: weights; 0: a Hessian. The other numbers are those of the recipe.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
static int64_t draw(uint64_t seed, uint64_t k, int64_t m) {
  uint64_t z = seed + (k + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return (int64_t)((z ^ (z >> 31)) >> 33) % (2 * m + 1) - m;
}
static int in(long j, char **from, int count) {
  for (int i = 0; i < count; i++) if (atol(from[i]) == j) return 1;
  return 0;
}
int main(int c, char **v) {
  long rows = atol(v[1]), n = atol(v[2]);
  if (rows > 0) {
    for (long k = 0; k < rows * n; k++) {
      float w = ldexpf(draw(atol(v[3]), k, atol(v[4])), -atoi(v[5]));
      if ((k + 1) % atol(v[6]) == 0) w = ldexpf(w, atoi(v[7]));
      fwrite(&w, 4, 1, stdout);
    }
    return 0;
  }
  long seed = atol(v[3]), N = atol(v[4]), rank = atol(v[6]);
  int shift = atoi(v[9]), large_shift = atoi(v[10]), large = atoi(v[11]);
  float *x = malloc(4 * N * n), *h = calloc(n * n, 4);
  for (long t = 0; t < N; t++) for (long j = 0; j < n; j++) {
    int64_t a = draw(seed, t * n + j, atol(v[5]));
    for (long r = 0; r < rank; r++)
      a += draw(seed + 1, t * rank + r, atol(v[7])) * draw(seed + 2, r * n + j, atol(v[8]));
    x[t * n + j] = ldexpf(a, -shift + (in(j, v + 12, large) ? large_shift : 0));
    if (in(j, v + 12 + large, c - 12 - large)) x[t * n + j] = 0;
  }
  for (long t = 0; t < N; t++) for (long i = 0; i < n; i++) for (long j = 0; j < n; j++)
    h[i * n + j] += x[t * n + i] * x[t * n + j];
  for (long k = 0; k < n * n; k++) { h[k] = h[k] * (2.0f / N) + 0.0f; fwrite(h + k, 4, 1, stdout); }
  return 0;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("case", DEFAULT, ids=lambda case: case.id)
def test_c_makes_the_same_bytes(case: Case, tmp_path: Path) -> None:
    """In plain single precision, one token after the other: the sums are exact."""
    (tmp_path / "recipe.c").write_text(C, encoding="utf-8")
    build = ["cc", "-O2", "-o", "recipe", "recipe.c", "-lm"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    for name, recipe in recipes(case).items():
        rule, (rows, n) = recipe.rule, recipe.shape
        if isinstance(rule, WeightsRule):
            numbers = [rows, n, rule.seed, rule.spread, rule.shift, rule.every, rule.outlier_shift]
        else:
            numbers = [0, n, rule.seed, rule.tokens, rule.noise, rule.rank, rule.factor,
                       rule.loading, rule.shift, rule.large_shift, len(rule.large),
                       *rule.large, *rule.dead]  # fmt: skip
        made = subprocess.run(
            [tmp_path / "recipe", *map(str, numbers)], check=True, capture_output=True
        )
        assert hashlib.sha256(made.stdout).hexdigest() == recipe.sha256, name


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node")
def test_javascript_makes_the_same_weights() -> None:
    recipe = recipes(DEFAULT[0])["weights"]
    program = """
    const recipe = JSON.parse(process.argv[1]), words = 0xFFFFFFFFFFFFFFFFn
    const {seed, spread, shift, every, outlier_shift} = recipe.recipe
    const made = Float32Array.from({length: recipe.shape[0] * recipe.shape[1]}, (_, k) => {
      let z = (BigInt(seed) + (BigInt(k) + 1n) * 0x9E3779B97F4A7C15n) & words
      z = ((z ^ (z >> 30n)) * 0xBF58476D1CE4E5B9n) & words
      z = ((z ^ (z >> 27n)) * 0x94D049BB133111EBn) & words
      const draw = Number(((z ^ (z >> 31n)) >> 33n) % BigInt(2 * spread + 1)) - spread
      return draw * 2 ** -shift * ((k + 1) % every ? 1 : 2 ** outlier_shift)
    })
    console.log(require("crypto").createHash("sha256").update(made).digest("hex"))
    """
    done = subprocess.run(
        ["node", "-e", program, json.dumps(recipe.to_json())],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == recipe.sha256


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # lines are short
@pytest.mark.parametrize("case", SIZES, ids=lambda case: case.id)
def test_the_lines_of_a_deviation_make_the_same_arrays(case: Case, tmp_path: Path) -> None:
    """The lines for Keras read the vector, and make its arrays without this package."""
    lines = keras_lines(case.question(made=False), backend="torch", section="gptq")
    start = next(k for k, line in enumerate(lines) if line.startswith("def draws"))
    stop = next(k for k, line in enumerate(lines) if line.startswith("from keras"))
    made: dict[str, Any] = {"np": np, "json": json}
    folder = tmp_path / "vectors" / "gptq"
    folder.mkdir(parents=True)
    (folder / f"{case.id}.json").write_text(
        vectors.dump(case, generator="", spec=""), encoding="utf-8"
    )
    program = "\n".join(lines[start:stop]).replace("vectors/", f"{tmp_path}/vectors/")
    exec(compile(program, "lines", "exec"), made)
    for name, recipe in recipes(case).items():
        assert digest(made[name]) == recipe.sha256
