"""Target `variant:ID`: a correct implementation in other arithmetic, which must pass."""

from __future__ import annotations

import sys

from quantcheck.targets.worker import OPERATIONS, claim_stdout, serve, versions_of


def main(arguments: list[str] | None = None) -> None:
    """Serve the variant named by the one argument."""
    out = claim_stdout()
    from quantcheck.targets import variants

    (identity,) = sys.argv[1:] if arguments is None else arguments
    try:
        variant = variants.find(identity)
    except LookupError as error:
        sys.exit(str(error))
    ready = {
        "name": f"variant:{identity}",
        "version": versions_of("quantref").get("quantref", "0"),
        "backend": "numpy",
        "precision": variant.precision,
        "operations": list(OPERATIONS),
        "choices": ["all"],
        "versions": versions_of("quantref", "numpy", "scipy"),
    }
    serve(variant.answer, ready, out)


if __name__ == "__main__":
    main()
