"""The command `quantref quantize`: a model of Keras in, a quantized one and its proof out."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from quantref import __version__
from quantref.commands.calibration_files import read_calibration, read_tokenizer
from quantref.config import GPTQConfig, Int8QuantizationConfig
from quantref.errors import CheckpointError, ConfigError, ModelError, OutputError, QuantrefError

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
NEEDED = ("keras", "rich", "jinja2", "matplotlib")

EPILOG = """
OUT is a folder: the model or its codes, report.json and report.html. It is there whole or not at
all. A run that is stopped leaves OUT.partial beside it, and the same command goes on from there.
exit codes: 0 every layer is certified; 1 a layer is not, or something was refused; 2 usage, or a
package of the extra `quantize` is missing; 130 interrupted.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of `quantref`."""
    parser = commands.add_parser(
        "quantize", help="quantize a Keras model on this CPU, with a certificate", epilog=EPILOG
    )
    add_model_arguments(parser, "MODEL.keras")
    parser.add_argument("--method", choices=("gptq", "int8"), default="gptq")
    add_gptq_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--form", choices=("dequantized", "keras", "codes"), default="dequantized",
                        help="float weights, Keras's own layers, or codes")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace DIR if it is there")
    parser.add_argument("--restart", action="store_true", help="forget DIR.partial")
    parser.add_argument("--no-verify", action="store_true",
                        help="do not load the written file in a new process")  # fmt: skip


def add_model_arguments(parser: argparse.ArgumentParser, *models: str) -> None:
    """Add what says which model, and how it is loaded."""
    for name in models:
        parser.add_argument(name.partition(".")[0].lower(), type=Path, metavar=name)
    parser.add_argument("--backend", choices=("jax", "torch", "tensorflow"),
                        help="of Keras (what its settings say)")  # fmt: skip
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE",
                        help="that registers the model's own classes")  # fmt: skip
    parser.add_argument("--layers", action="append", metavar="REGEX",
                        help="only layers whose path has it")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def add_gptq_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of GPTQ and of its calibration."""
    parser.add_argument("--bits", type=int, default=4, help="2, 3, 4 or 8 (4)")
    parser.add_argument("--group-size", type=int, default=128, help="columns, or -1 (128)")
    parser.add_argument("--damping", type=float, default=0.01, help="share of the diagonal (0.01)")
    parser.add_argument("--symmetric", action="store_true")
    parser.add_argument("--per-tensor", action="store_true", help="rows share their ranges")
    parser.add_argument("--activation-order", action="store_true")
    parser.add_argument("--block-at-once", action="store_true",
                        help="calibrate a block's layers with the float block")  # fmt: skip
    parser.add_argument("--calibration", type=Path, metavar="FILE",
                        help=".npy, .npz, .jsonl, or text")  # fmt: skip
    named = "bytes, a JSON file of characters, or python:MODULE:OBJECT"
    parser.add_argument("--tokenizer", metavar="NAME", help=named)
    parser.add_argument("--samples", type=int, default=128, help="windows (128)")
    parser.add_argument("--sequence-length", type=int, default=512, help="tokens (512)")
    parser.add_argument("--batch", type=int, default=8, help="windows at a time (8)")
    parser.add_argument("--executor", default="threads", metavar="KIND",
                        help="threads, processes, or dask://HOST:PORT")  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="of the executor (1)")


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"quantref {options.command}: {', '.join(missing)} not installed: "
            'pip install "quantref[quantize]", and a backend of Keras\n'
        )
        return USAGE
    console = console_of(options)
    try:
        return _run(options, console)
    except KeyboardInterrupt:
        partial = partial_of(options.out)
        left = f"; {partial} keeps what is done" if partial.exists() else ""
        sys.stderr.write(f"quantref quantize: interrupted{left}\n")
        return INTERRUPTED
    except OSError as error:
        sys.stderr.write(f"quantref quantize: {error}; nothing half written is left\n")
        return FAILED


def console_of(options: argparse.Namespace) -> Any:
    """Return the console for people: standard output, or the other one beside JSON."""
    from rich.console import Console

    return Console(stderr=options.json)


def partial_of(out: Path) -> Path:
    """Return the folder of a run's checkpoint."""
    return out.with_name(f"{out.name}.partial")


def _run(options: argparse.Namespace, console: Any) -> int:
    # BAD INPUT: everything that can be refused before the model is loaded
    out: Path = options.out
    if out.exists() and not options.force:
        raise OutputError(f"{out} not to be there", "it is: --force replaces it", "")
    if not out.parent.is_dir():
        raise OutputError(f"a folder {out.parent}", "none", "")
    config = config_of(options)
    load_backend(options)
    from quantref.keras.forms import SUFFIX, require_form, save

    require_form(options.form, options.method)
    model = load_model(options.model, options.modules)

    from quantref.commands.progress import TerminalProgress
    from quantref.commands.table import show
    from quantref.keras import quantize
    from quantref.pipeline import Checkpoint
    from quantref.pipeline.executors import open_executor

    checkpoint = None
    if isinstance(config, GPTQConfig):
        partial = partial_of(out)
        if options.restart and partial.exists():
            shutil.rmtree(partial)
        try:
            checkpoint = Checkpoint(partial, fingerprint(options))
        except CheckpointError as error:
            got = f"{error.got}; --restart forgets it"
            raise CheckpointError(error.expected, got, "") from None
    if checkpoint is not None and checkpoint.names:
        console.print(f"going on: {len(checkpoint.names)} layers are done", style="dim")
    with (
        open_executor(options.executor, options.workers) as mapper,
        TerminalProgress(console, layer_count(model, options.layers)) as listener,
    ):
        quantized = quantize(
            model,
            config,
            filters=options.layers,
            batch_size=options.batch,
            true_sequential=not options.block_at_once,
            mapper=mapper,
            checkpoint=checkpoint,
            listener=listener,
            restore=False,
        )
    name = f"model{SUFFIX[options.form]}"
    write_folder(
        out,
        lambda folder: save(
            quantized,
            folder / name,
            options.form,
            verify=not options.no_verify,
            modules=options.modules,
        ),
        quantized.report,
    )
    if checkpoint is not None:
        checkpoint.remove()
    finish(options, console, quantized.report, show)
    console.print(f"written: {out / name}, report.html, report.json", style="dim", markup=False)
    return OK if quantized.report.passed else FAILED


def finish(options: argparse.Namespace, console: Any, report: Any, show: Any) -> None:
    """Print the report, as a table or as JSON."""
    if options.json:
        import json

        sys.stdout.write(json.dumps(report.to_json(), indent=1) + "\n")
    else:
        show(console, report)


def config_of(options: argparse.Namespace) -> GPTQConfig | Int8QuantizationConfig:
    """Return the configuration that the arguments say, with its data."""
    if getattr(options, "method", "gptq") == "int8":
        return Int8QuantizationConfig()
    if options.calibration is None:
        raise ConfigError("--calibration FILE for gptq", "none", "CAL-080")
    if options.batch < 1:
        raise ConfigError("--batch >= 1", f"{options.batch}", "")
    return GPTQConfig(
        read_calibration(options.calibration),
        read_tokenizer(options.tokenizer),
        weight_bits=options.bits,
        num_samples=options.samples,
        per_channel=not options.per_tensor,
        sequence_length=options.sequence_length,
        hessian_damping=options.damping,
        group_size=options.group_size,
        symmetric=options.symmetric,
        activation_order=options.activation_order,
    )


def load_backend(options: argparse.Namespace) -> None:
    """Say which backend Keras is to use, before it is imported."""
    if options.backend is not None:
        if "keras" in sys.modules:
            import keras

            if keras.backend.backend() != options.backend:
                got = f"{keras.backend.backend()}, which is in use"
                raise ConfigError(f"Keras on {options.backend}", got, "")
        os.environ["KERAS_BACKEND"] = options.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, str(Path.cwd()))  # for --import, as `python -m` has it
    for name in options.modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ModelError(f"a module {name}", f"{error}", "") from None


def load_model(path: Path, modules: list[str]) -> Any:
    """Return the model of a file; Keras's safe mode stays on, and nothing is unpickled.

    Raises
    ------
    ModelError
        The file is not there, is no model, or has classes that nobody registered.
    """
    import keras

    if path.suffix != ".keras":
        raise ModelError("a .keras file", f"{path}", "")
    if not path.is_file():
        raise ModelError(f"a file {path}", "none", "")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # noqa: BLE001 - Keras raises many kinds
        hint = "" if modules else "; --import MODULE imports what registers its classes"
        got = f"{type(error).__name__}: {error!s:.300}{hint}"
        raise ModelError(f"a model of Keras in {path}", got, "") from None


def layer_count(model: Any, filters: list[str] | None) -> int:
    """Return how many layers there are to quantize, as far as that is known before."""
    from quantref.keras.structure import linear_layers

    try:
        return len(linear_layers(model, filters)[0])
    except QuantrefError:
        return 0  # said where it matters


def fingerprint(options: argparse.Namespace) -> dict[str, Any]:
    """Return what decides the result, for a checkpoint."""
    import keras

    decisive = (
        "bits", "group_size", "damping", "symmetric", "per_tensor", "activation_order",
        "block_at_once", "samples", "sequence_length", "batch", "layers", "tokenizer",
    )  # fmt: skip
    files = {"model": options.model, "calibration": options.calibration}
    return {
        "quantref": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        **{name: _sha256(path) for name, path in files.items()},
        **{name: getattr(options, name) for name in decisive},
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_folder(out: Path, write: Any, report: Any) -> None:
    """Write what `write` does, and both reports, into a folder that is there whole or not."""
    from quantref.commands.page import write_page
    from quantref.files import write_json

    place = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        write(place)
        write_json(place / "report.json", report.to_json())
        write_page(report, place / "report.html")
        place.chmod(0o755)
        old = out.with_name(f".{out.name}-old") if out.exists() else None
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
            out.replace(old)
        place.replace(out)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink()
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
