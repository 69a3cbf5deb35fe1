"""Shared by both commands: arguments, loading of model and data, and output."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantref.cli.calibration_files import read_calibration, read_tokenizer
from quantref.config import GPTQConfig, Int8QuantizationConfig
from quantref.errors import ConfigError, ModelError, QuantrefError

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
BACKENDS = ("jax", "torch", "tensorflow", "numpy", "openvino")
NEEDED = ("keras", "rich", "jinja2", "matplotlib")


def add_model_arguments(parser: argparse.ArgumentParser, *models: str) -> None:
    """Add the arguments that name the model and say how it is loaded."""
    for name in models:
        parser.add_argument(name.partition(".")[0].lower(), type=Path, metavar=name)
    parser.add_argument("--backend", choices=BACKENDS, metavar="NAME",
                        help=f"backend of Keras: {', '.join(BACKENDS)}")  # fmt: skip
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE",
                        help="module that registers the model's classes")  # fmt: skip
    parser.add_argument("--layers", action="append", metavar="REGEX",
                        help="only layers whose path matches")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def add_gptq_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of GPTQ and of its calibration."""
    parser.add_argument("--bits", type=int, default=4, help="2, 3, 4 or 8 (4)")
    parser.add_argument("--group-size", type=int, default=128, help="columns; -1: all (128)")
    parser.add_argument("--damping", type=float, default=0.01, help="of the mean diagonal (0.01)")
    parser.add_argument("--symmetric", action="store_true")
    parser.add_argument("--per-tensor", action="store_true", help="all rows share one range")
    parser.add_argument("--activation-order", action="store_true")
    parser.add_argument("--block-at-once", action="store_true",
                        help="calibrate a block's layers with the float block")  # fmt: skip
    parser.add_argument("--calibration", type=Path, metavar="FILE",
                        help=".npy, .npz, .jsonl, or text")  # fmt: skip
    named = "bytes, a JSON file of characters, or python:MODULE:OBJECT"
    parser.add_argument("--tokenizer", metavar="NAME", help=named)
    parser.add_argument("--samples", type=int, default=128, help="number of windows (128)")
    parser.add_argument("--sequence-length", type=int, default=512, help="tokens a window (512)")
    parser.add_argument("--batch", type=int, default=8, help="windows per forward pass (8)")
    parser.add_argument("--executor", default="threads", metavar="KIND",
                        help="threads, processes, or dask://HOST:PORT")  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="number of workers (1)")


def run_command(
    command: str,
    work: Callable[[argparse.Namespace, Any], int],
    options: argparse.Namespace,
    *,
    interruption_note: Callable[[], str] = str,
) -> int:
    """Run a command and return its exit code; an error or interruption is printed as one line.

    Parameters
    ----------
    command : str
        Its name.
    work : callable
        From options and console to exit code.
    options : Namespace
    interruption_note : callable, optional
        Returns text about files that stay after an interruption.
    """
    complaint = complaint_of(command)
    if complaint is not None:
        sys.stderr.write(complaint)
        return USAGE
    try:
        return work(options, console_of(options))
    except KeyboardInterrupt:
        sys.stderr.write(f"quantref {command}: interrupted{interruption_note()}\n")
        return INTERRUPTED
    except OSError as error:
        sys.stderr.write(f"quantref {command}: {error}; no partial file is left\n")
        return FAILED


@contextmanager
def working(options: argparse.Namespace, console: Any, layers: int) -> Iterator[dict[str, Any]]:
    """Open executor and progress, and yield the arguments of `quantize` and `certify` for them."""
    from quantref.cli.progress import TerminalProgress
    from quantref.models.executors import open_executor

    with (
        open_executor(options.executor, options.workers) as mapper,
        TerminalProgress(console, layers) as listener,
    ):
        yield {
            "filters": options.layers,
            "batch_size": options.batch,
            "true_sequential": not options.block_at_once,
            "mapper": mapper,
            "listener": listener,
        }


def complaint_of(command: str) -> str | None:
    """Return a message that names missing packages, or None."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return (
        f"quantref {command}: {', '.join(missing)} not installed: "
        'pip install "quantref[quantize]", and a backend of Keras\n'
    )


def console_of(options: argparse.Namespace) -> Any:
    """Return the console for people: standard output, or standard error if JSON is printed."""
    from rich.console import Console

    return Console(stderr=options.json)


def finish(options: argparse.Namespace, console: Any, report: Any, show: Any) -> None:
    """Print the report as a table or as JSON."""
    if options.json:
        sys.stdout.write(json.dumps(report.to_json(), indent=1) + "\n")
    else:
        show(console, report)


def config_of(options: argparse.Namespace) -> GPTQConfig | Int8QuantizationConfig:
    """Return the config that the arguments describe, with its calibration data."""
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
    """Select Keras's backend, and import the modules that register classes."""
    from quantref.keras.loading import use_backend

    use_backend(options.backend)
    sys.path.insert(0, str(Path.cwd()))  # so that --import finds modules as `python -m` does
    for name in options.modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ModelError(f"a module {name}", f"{error}", "") from None


def layer_count(model: Any, filters: list[str] | None) -> int:
    """Return the number of layers to quantize, 0 if the model cannot be quantized."""
    from quantref.keras.structure import linear_layers

    try:
        return len(linear_layers(model, filters)[0])
    except QuantrefError:
        return 0  # `quantize` raises it again
