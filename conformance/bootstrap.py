"""Make the virtual environments of `python3 conformance` and `python3 tests`.

Standard library alone: this runs before anything is installed. An environment lives in the
checkout, is reused by later runs, and is made anew when pyproject.toml or the Python changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
EXIT_NOTHING_DONE = 4  # as quantcheck's "nothing was answered", and never pytest's 5

# Extra of pyproject.toml that brings what a target needs. Keras's NumPy backend calls JAX.
EXTRAS = {
    "keras:jax": "jax",
    "keras:numpy": "jax",
    "keras:tensorflow": "tensorflow",
    "keras:torch": "torch",
    "keras:openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "ai-edge-quantizer": "ai-edge-quantizer",
    "llmcompressor": "llmcompressor",
    "neural-compressor": "neural-compressor",
    "nncf": "nncf",
    "torchao": "torchao",
    "gptqmodel": "gptqmodel",
}
# Targets with an environment of their own: each asks for other versions of the same packages.
LIBRARIES = tuple(name for name in EXTRAS if not name.startswith("keras:"))


class BootstrapError(Exception):
    """What keeps an environment from being made, in words for the person at the terminal."""


def extras_for(arguments: Sequence[str]) -> list[str]:
    """Return the extras that a command line of quantcheck needs.

    Examples
    --------
    >>> extras_for(["keras:jax", "--json", "report.json"])
    ['conformance', 'jax']
    >>> extras_for(["--help"])
    ['conformance']
    """
    return ["conformance", *sorted({EXTRAS[a] for a in arguments if a in EXTRAS})]


def folder_of(arguments: Sequence[str]) -> str:
    """Return the folder of the environment that a command line of quantcheck needs.

    Raises
    ------
    BootstrapError
        A library is not the only target of the command line.

    Examples
    --------
    >>> folder_of(["keras:jax"]), folder_of(["onnxruntime", "--section", "gptq"])
    ('.venv-conformance', '.venv-onnxruntime')
    """
    named = [word for word in arguments if word in EXTRAS]
    libraries = [name for name in named if name in LIBRARIES]
    if libraries and len(set(named)) > 1:
        raise BootstrapError(f"expected {libraries[0]} as the only target, got {', '.join(named)}")
    return f".venv-{libraries[0]}" if libraries else ".venv-conformance"


def release_of(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Take `--keras VERSION` out of a command line: the version, and the rest.

    Examples
    --------
    >>> release_of(["--keras", "3.14.1", "keras:numpy"])
    ('3.14.1', ['keras:numpy'])
    >>> release_of(["keras:numpy"])
    (None, ['keras:numpy'])
    """
    rest = list(arguments)
    for n, word in enumerate(rest):
        name, equals, value = word.partition("=")
        if name != "--keras":
            continue
        given = [value] if equals else rest[n + 1 : n + 2]
        if not given or not re.fullmatch(r"\d+\.\d+[0-9A-Za-z.]*", given[0]):
            got = given[0] if given else "nothing"
            raise BootstrapError(f"expected a version after --keras, such as 3.14.1, got {got}")
        del rest[n : n + (1 if equals else 2)]
        return given[0], rest
    return None, rest


def requirements_of(version: str, extras: Sequence[str]) -> list[str]:
    """Return what an environment with one release of Keras needs: extras, with that Keras.

    Development versions are those of the distribution keras-nightly.
    """
    import tomllib  # Python 3.11 has it; an older one gets as far as the message

    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    optional = known["project"]["optional-dependencies"]
    wanted = [r for extra in extras for r in optional[extra] if not r.startswith("keras")]
    name = "keras-nightly" if "dev" in version else "keras"
    return [*wanted, f"{name}=={version}"]


def say(text: str, end: str = "\n") -> None:
    """Tell the person at the terminal; standard output belongs to the command that follows."""
    print(text, end=end, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Say in one line what is being done, and then how long it took."""
    say(f"{text} ... ", end="")
    start = time.monotonic()
    try:
        yield
    except BaseException:
        say("failed")
        raise
    say(f"{time.monotonic() - start:.1f} s")


def clean_environment() -> dict[str, str]:
    """Return the environment variables without those that would lead Python elsewhere."""
    unwanted = {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    extra: Mapping[str, str] | None = None,
) -> int:
    """Run a command in the foreground and return its exit status, as a shell would."""
    environment = {**clean_environment(), **(extra or {})}
    words = [str(c) for c in command]
    status = subprocess.run(words, cwd=cwd, env=environment, check=False).returncode
    return status if status >= 0 else 128 - status


def quietly(command: Sequence[str | Path], complaint: str) -> None:
    """Run a command; show what it printed only when it fails."""
    done = subprocess.run(
        [str(c) for c in command],
        env=clean_environment(),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        printed = "\n".join(f"    {line}" for line in done.stdout.splitlines()[-15:])
        raise BootstrapError(f"{complaint}\n{printed}")


class Environment:
    """A virtual environment in the checkout.

    Parameters
    ----------
    name : str
        Name of its folder.
    """

    def __init__(self, name: str) -> None:
        self.path = ROOT / name
        self.scripts = self.path / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.scripts / ("python.exe" if os.name == "nt" else "python")
        self.stamp = self.path / "bootstrap.json"

    def key(self) -> str:
        """Return a hash of everything that an environment made today would depend on."""
        recipe = (ROOT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes()
        return hashlib.sha256(
            recipe + f"{sys.version} {sys.base_prefix} {ROOT}".encode()
        ).hexdigest()

    def extras(self) -> list[str] | None:
        """Return what is installed, or None where there is no usable environment."""
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
            usable = stamp["key"] == self.key() and self.python.exists()
            return list(stamp["extras"]) if usable else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def record(self, extras: Sequence[str]) -> None:
        """Note what is installed. Written last: a set-up that was cut short leaves no stamp."""
        stamp = {"key": self.key(), "extras": list(extras)}
        self.stamp.write_text(json.dumps(stamp), encoding="utf-8")

    def pip(self, *arguments: str | Path, complaint: str) -> None:
        """Run pip for this environment, the environment's own or else the one that called us."""
        own = importlib.util.find_spec("ensurepip") is not None
        pip: list[str | Path] = [self.python, "-m", "pip"]
        if not own:
            pip = [sys.executable, "-m", "pip", "--python", self.python]
        quiet = ["--disable-pip-version-check", "--no-input", "--quiet"]
        quietly([*pip, arguments[0], *quiet, *arguments[1:]], complaint)

    def make(self) -> None:
        """Make the environment anew, empty but for pip."""
        with step(f"making {self.path.name} for Python {sys.version.split()[0]}"):
            shutil.rmtree(self.path, ignore_errors=True)
            bare = []
            if importlib.util.find_spec("ensurepip") is None:
                if importlib.util.find_spec("pip") is None:
                    raise BootstrapError(
                        "This Python has neither ensurepip nor pip. Install its venv module "
                        "(Debian and Ubuntu: the package python3-venv) and try again."
                    )
                bare = ["--without-pip"]
            quietly(
                [sys.executable, "-m", "venv", *bare, self.path],
                "This Python could not make a virtual environment. Its venv module may be missing "
                "(Debian and Ubuntu: the package python3-venv). It printed:",
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time change the environment, where the system has file locks."""
        try:
            import fcntl
        except ImportError:
            yield
            return
        with (ROOT / f"{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def install(self, what: str, requirement: str, *options: str) -> None:
        """Install something that may have to be downloaded; `what` is how to call it."""
        with step(f"installing {what}"):
            # What is imported is compiled then; frameworks have ten times as much.
            self.pip(
                "install",
                "--no-compile",
                *options,
                requirement,
                complaint="pip could not install what is needed. Is there a network connection, "
                "and room on the disk? It printed:",
            )

    def leave_nightly_alone(self, release: str) -> None:
        """Take away the Keras that TensorFlow brings: it has the files of keras-nightly."""
        with step("removing the Keras of TensorFlow"):
            self.pip("uninstall", "--yes", "keras", complaint="pip could not remove Keras:")
            again = ["install", "--no-compile", "--no-deps", "--force-reinstall"]
            complaint = "pip could not install keras-nightly again. It printed:"
            self.pip(*again, f"keras-nightly=={release}", complaint=complaint)


def require_python() -> None:
    """Refuse a Python that is too old."""
    if sys.version_info < OLDEST_PYTHON:
        need = ".".join(map(str, OLDEST_PYTHON))
        have = sys.version.split()[0]
        raise BootstrapError(f"Python {need} or newer is needed; {sys.executable} is {have}.")


def conformance(arguments: Sequence[str]) -> int:
    """Run quantcheck from this checkout, in an environment that has what its targets need."""
    require_python()
    release, arguments = release_of(arguments)
    if release is not None:
        return conformance_of(release, arguments)
    environment = Environment(folder_of(arguments))
    needed = extras_for(arguments)
    with environment.locked():
        present = environment.extras()
        if present is None or not set(needed) <= set(present):
            if present is None:
                environment.make()
            extras = sorted({*needed, *(present or [])})
            # Editable: the code that runs is always the checkout's.
            environment.install(
                f"quantref[{','.join(extras)}]", f".[{','.join(extras)}]", "--editable"
            )
            environment.record(extras)
    return run([environment.scripts / "quantcheck", *arguments])


def conformance_of(release: str, arguments: Sequence[str]) -> int:
    """Run quantcheck in an environment of its own with one release of Keras."""
    environment = Environment(f".venv-keras-{release}")
    needed = extras_for(arguments)
    with environment.locked():
        present = environment.extras()
        if present is None or not set(needed) <= set(present):
            if present is None:
                environment.make()
            extras = sorted({*needed, *(present or [])})
            wanted = requirements_of(release, extras)
            what = f"Keras {release}, {', '.join(extras)}"
            environment.install(what, ".", *wanted, "--editable")
            if "dev" in release and "tensorflow" in extras:
                environment.leave_nightly_alone(release)
            environment.record(extras)
    return run([environment.scripts / "quantcheck", *arguments])


def guarded(main: Callable[[Sequence[str]], int]) -> int:
    """Call `main` with the command line; turn what goes wrong into a message and a status."""
    try:
        return main(sys.argv[1:])
    except BootstrapError as error:
        say(f"error: {error}")
        return EXIT_NOTHING_DONE
    except KeyboardInterrupt:
        return 130
