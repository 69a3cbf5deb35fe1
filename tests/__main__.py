"""`python3 tests [--everything] [PYTEST ARGUMENTS]`: the checks of this repository.

Builds the wheel, installs it with the extra `dev` into its own environment, runs ruff, then mypy
and, beside it, pytest on tests/ and on the doctests of the installed packages. The wheel is tested:
neither reference/ nor conformance/ is on the path. With --everything the extra `everything` is
installed too, and the tests that carry its mark run. The variable QUANTREF_TEST_OPTIONS adds
arguments.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "conformance"))

from bootstrap import (  # noqa: E402
    BootstrapError,
    Environment,
    clean_environment,
    guarded,
    require_python,
    run,
    say,
    step,
)

# Adapters of libraries import them, and are imported in the environment of their library alone.
LIBRARIES = ROOT / "conformance" / "quantcheck" / "targets" / "libraries"
SHARED = ("__init__.py", "__main__.py", "library.py")
ADAPTERS = sorted(path.name for path in LIBRARIES.glob("*.py") if path.name not in SHARED)
# The packages for their doctests; the suite's own tests need a target, and quantcheck runs them.
PACKAGES = (
    "--pyargs",
    "quantref",
    "quantcheck",
    "--ignore-glob=*/quantcheck/suite/*",
    *(f"--ignore-glob=*/quantcheck/targets/libraries/{name}" for name in ADAPTERS),
)
# One process more than cores, as many tests wait for processes of their own. In the order of
# collection; tests/conftest.py says what stays together.
PROCESSES = (os.cpu_count() or 1) + 1
PARALLEL = (f"--numprocesses={PROCESSES}", "--dist=loadgroup", "--no-loadscope-reorder")


def install(environment: Environment, needed: Sequence[str]) -> None:
    """Put today's wheel into the environment, and the extras that are needed and not there."""
    with environment.locked():
        present = environment.extras()
        if present is None:
            environment.make()
        missing = [extra for extra in needed if extra not in (present or [])]
        dist = environment.path / "dist"
        shutil.rmtree(dist, ignore_errors=True)
        with step("building the wheel"):
            environment.pip(
                "wheel",
                "--no-deps",
                "--wheel-dir",
                dist,
                ".",
                complaint="The wheel could not be built. pip printed:",
            )
        wheels = list(dist.glob("quantref-*.whl"))
        if len(wheels) != 1:
            raise BootstrapError(f"One wheel was expected, {len(wheels)} came.")
        if missing:
            extras = ",".join(missing)
            environment.install(f"the wheel and quantref[{extras}]", f"{wheels[0]}[{extras}]")
        if present is not None:  # the wheel of an earlier run has the same version
            environment.install("the wheel", str(wheels[0]), "--no-deps", "--force-reinstall")
        if "everything" in missing:
            # Its tokenizers of text want a TensorFlow with a GPU's libraries; its models do not.
            environment.install("KerasHub, its models alone", "keras-hub>=0.20", "--no-deps")
        environment.record(sorted({*needed, *(present or [])}))


def pytest_arguments(arguments: Sequence[str]) -> list[str]:
    """Complete pytest's arguments: everything, unless the person named files or folders."""
    named = [a for a in arguments if not a.startswith("-") and (ROOT / a.split("::")[0]).exists()]
    whole = [] if named else ["tests", "--doctest-modules", *PACKAGES, *PARALLEL]
    timed = any(a.startswith("--benchmark") for a in arguments)
    return [*whole, *([] if timed else ["--benchmark-disable"]), *arguments]


def mypy(environment: Environment) -> subprocess.CompletedProcess[str]:
    """Check the types; what mypy finds is not printed, since pytest prints at the same time."""
    options = ("--no-error-summary", "--no-incremental")
    return subprocess.run(
        [str(environment.python), "-P", "-m", "mypy", *options],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )


def main(arguments: Sequence[str]) -> int:
    """Run the checks; the first that failed decides the exit status."""
    require_python()
    arguments = [*arguments, *shlex.split(os.environ.get("QUANTREF_TEST_OPTIONS", ""))]
    environment = Environment(".venv-tests")
    install(environment, ["dev", *(["everything"] if "--everything" in arguments else [])])
    checks: dict[str, list[str | Path]] = {
        "ruff check": [environment.scripts / "ruff", "check", "--quiet", ROOT],
        "ruff format": [environment.scripts / "ruff", "format", "--check", "--quiet", ROOT],
    }
    failed = {}
    for name, command in checks.items():
        with step(name):
            status = run(command, cwd=ROOT)
        if status:
            failed[name] = status
            say(f"{name} failed; what it found is above")
    # More processes than cores: a second thread of BLAS or of PyTorch would wait, busily, for one
    # of another process. That made tests that run a model up to 15 times slower.
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    threads = {name: os.environ.get(name, "1") for name in names}
    # Selenium's trio is a plugin of Hypothesis, and would be imported with it in every process.
    plugins = {"HYPOTHESIS_NO_PLUGINS": "1"}
    with ThreadPoolExecutor() as background:
        types = background.submit(mypy, environment)
        # -P: the checkout itself is not on the path. pytest's status 5 says that no test ran.
        status = run(
            [environment.python, "-P", "-m", "pytest", *pytest_arguments(arguments)],
            cwd=ROOT,
            extra={"QUANTREF_TEST_WHEEL": "1", **threads, **plugins},
        )
        with step("mypy, beside pytest"):
            checked = types.result()
    if checked.returncode:
        failed["mypy"] = checked.returncode
        say(f"{checked.stdout}mypy failed; what it found is above")
    if failed:
        say(f"failed beside pytest: {', '.join(failed)}")
    return status or next(iter(failed.values()), 0)


if __name__ == "__main__":
    sys.exit(guarded(main))
