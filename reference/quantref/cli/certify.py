"""The command `quantref certify`: judges a model that any program has quantized."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from quantref.cli.common import (
    FAILED,
    OK,
    add_gptq_arguments,
    add_model_arguments,
    config_of,
    finish,
    layer_count,
    load_backend,
    run_command,
    working,
)
from quantref.errors import ModelError, OutputError

EPILOG = """
QUANTIZED is a .keras file with the same layers, or a file of codes. The layers have dequantized
weights or are GPTQ layers of Keras. `quantref quantize --form codes` writes a file of codes, which
holds its settings. Calibration data and settings must be those of the quantization.
A layer is weak if rounding errors of the declared precisions leave more than 1 % of its codes
undecided, or the scales of their groups uncertain by more than a thousandth.
exit codes: 0 every layer is certified; 1 a layer failed or is weak, or input was refused; 2 usage,
or a package of the extra `quantize` is missing; 130 interrupted.
"""

PRECISIONS = {"float32": 2.0**-24, "float64": 2.0**-53}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of `quantref`."""
    parser = commands.add_parser(
        "certify", help="judge a quantized Keras model, layer by layer", epilog=EPILOG
    )
    add_model_arguments(parser, "ORIGINAL.keras", "QUANTIZED")
    parser.add_argument("--method", choices=("gptq", "int8"), default="gptq")
    add_gptq_arguments(parser)
    for name, what in (("", "feedback"), ("factor-", "Hessian's factor (that of the feedback)")):
        parser.add_argument(f"--{name}precision", choices=PRECISIONS, metavar="NAME",
                            help=f"float32 or float64, of the quantizer's {what}")  # fmt: skip
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write the page")


def run(options: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    return run_command("certify", _run, options)


def _run(options: argparse.Namespace, console: Any) -> int:
    # BAD INPUT: everything that can be refused before a model is loaded
    page: Path | None = options.report
    if page is not None and (page.suffix != ".html" or not page.parent.is_dir()):
        raise OutputError("--report a file .html in an existing folder", f"{page}", "")
    config = config_of(options)
    load_backend(options)
    from quantref.keras.loading import load_model

    original = load_model(options.original, options.modules)
    quantized, config = _quantized(options, config)

    from quantref.cli.page import write_page
    from quantref.cli.table import show
    from quantref.keras import certify

    with working(options, console, layer_count(original, options.layers)) as settings:
        report = certify(
            original,
            quantized,
            config,
            unit_roundoff=PRECISIONS[options.precision or "float32"],
            factor_roundoff=PRECISIONS.get(options.factor_precision),
            **settings,
        )
    finish(options, console, report, show)
    if page is not None:
        write_page(report, page)
        console.print(f"report: {page}", style="dim", markup=False)
    return OK if report.passed else FAILED


def _quantized(options: argparse.Namespace, config: Any) -> tuple[Any, Any]:
    """Return model or codes, and the settings; a file of codes holds its own settings."""
    path: Path = options.quantized
    if path.suffix != ".safetensors":
        from quantref.keras.loading import load_model

        return load_model(path, options.modules), config
    from quantref.config import GPTQConfig
    from quantref.formats.codes import read_codes

    found, answers = read_codes(path)
    if not isinstance(found, GPTQConfig):
        raise ModelError(f"codes of GPTQ in {path}", found.mode, "")
    fields = {**found.get_config(), "dataset": config.dataset, "tokenizer": config.tokenizer}
    return answers, GPTQConfig(**fields)
