"""`quantcheck` and `python -m quantcheck`: reports a missing package of the extra it needs."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; exit code 2 if a package that it needs is not installed."""
    if sys.argv[1:2] == ["vectors"]:
        from quantcheck.corpus import command

        return command.main(sys.argv[2:])
    try:
        from quantcheck.cli import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "quantcheck":
            raise
        print(
            f"quantcheck: expected the package {error.name}, which comes with the extra "
            "'conformance': pip install 'quantref[conformance]'",
            file=sys.stderr,
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
