"""The command `quantref quantize`: writes a quantized model, and a report with certificates."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantref.cli.common import (
    FAILED,
    OK,
    add_gptq_arguments,
    add_model_arguments,
    config_of,
    finish,
    load_backend,
    run_command,
    working,
)
from quantref.config import GPTQConfig
from quantref.errors import CheckpointError, OutputError

EPILOG = """
DIR is a folder with the model or its codes, report.json and report.html. It is written completely
or not at all. An interrupted run leaves the folder DIR.partial, and the same command continues from
it.
exit codes: 0 every layer is certified; 1 a layer is not certified, or input was refused; 2 usage,
or a package of the extra `quantize` is missing; 130 interrupted.
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
    parser.add_argument("--force", action="store_true", help="replace an existing DIR")
    parser.add_argument("--restart", action="store_true", help="remove DIR.partial")
    parser.add_argument("--no-verify", action="store_true",
                        help="do not load the written file in a new process")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code."""

    def interruption_note() -> str:
        partial = partial_of(options.out)
        return f"; {partial} keeps the finished layers" if partial.exists() else ""

    return run_command("quantize", _run, options, interruption_note=interruption_note)


def partial_of(out: Path) -> Path:
    """Return the folder of the checkpoint for an output folder."""
    return out.with_name(f"{out.name}.partial")


def _run(options: argparse.Namespace, console: Any) -> int:
    # BAD INPUT: everything that can be refused before the model is loaded
    out: Path = options.out
    if out.exists() and not options.force:
        raise OutputError(f"no file or folder {out}", "one; --force replaces it", "")
    if not out.parent.is_dir():
        raise OutputError(f"a folder {out.parent}", "none", "")
    config = config_of(options)
    load_backend(options)
    from quantref.keras.forms import (
        SUFFIX,
        require_form,
        require_precision,
        save,
        to_be_quantized,
    )
    from quantref.keras.loading import load_model

    require_form(options.form, options.method)
    model = load_model(options.model, options.modules)
    variables = to_be_quantized(model, config, options.layers)
    require_precision(options.form, variables)

    from quantref.cli.table import show
    from quantref.keras import quantize

    checkpoint = _checkpoint(options) if isinstance(config, GPTQConfig) else None
    if checkpoint is not None and checkpoint.names:
        console.print(f"continuing: {len(checkpoint.names)} layers are finished", style="dim")
    with nothing_left(checkpoint), working(options, console, len(variables)) as settings:
        quantized = quantize(model, config, checkpoint=checkpoint, restore=False, **settings)
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


def _checkpoint(options: argparse.Namespace) -> Any:
    """Return the checkpoint of an interrupted run with the same settings, or a new one."""
    from quantref.models import Checkpoint

    partial = partial_of(options.out)
    if options.restart and partial.exists():
        shutil.rmtree(partial)
    try:
        return Checkpoint(partial, fingerprint(options))
    except CheckpointError as error:
        got = f"{error.got}; --restart removes it"
        raise CheckpointError(error.expected, got, "") from None


@contextmanager
def nothing_left(checkpoint: Any) -> Iterator[None]:
    """Remove a checkpoint without a layer, if the body of the `with` fails."""
    try:
        yield
    except BaseException:
        if checkpoint is not None and not checkpoint.names:
            checkpoint.remove()
        raise


def fingerprint(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings, hashes and versions that decide the result, for a checkpoint."""
    from quantref.keras.quantize import environment

    versions = environment()
    decisive = (
        "bits", "group_size", "damping", "symmetric", "per_tensor", "activation_order",
        "block_at_once", "samples", "sequence_length", "batch", "layers", "tokenizer",
    )  # fmt: skip
    files = {"model": options.model, "calibration": options.calibration}
    return {
        **{name: versions[name] for name in ("quantref", "keras", "backend", "numpy", "scipy")},
        **{name: _sha256(path) for name, path in files.items()},
        **{name: getattr(options, name) for name in decisive},
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_folder(out: Path, write: Any, report: Any) -> None:
    """Call `write` and write both reports into a folder that appears completely or not at all."""
    from quantref.cli.page import write_page
    from quantref.formats.files import write_json

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
        try:
            place.replace(out)
        except BaseException:
            if old is not None:
                old.replace(out)  # put the old folder back
            raise
        if old is not None:
            shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink()
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
