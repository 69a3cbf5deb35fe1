"""The command line of the reference: usage and version."""

from __future__ import annotations

import pytest

from quantref import __version__
from quantref.cli import main

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize("arguments", [[], ["vectors"], ["quantize", "--quik"]])
def test_usage_of_the_parser(arguments: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: quantref" in capsys.readouterr().err


def test_version(capsys: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"quantref {__version__}\n"
