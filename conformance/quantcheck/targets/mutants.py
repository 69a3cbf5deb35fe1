"""Target `mutant:ID`: the reference with one mistake, which must fail."""

from __future__ import annotations

import sys

from quantcheck.targets.worker import OPERATIONS, claim_stdout, serve, versions_of


def main(arguments: list[str] | None = None) -> None:
    """Serve the mutant named by the one argument."""
    out = claim_stdout()
    from quantcheck import mutants

    (identity,) = sys.argv[1:] if arguments is None else arguments
    known = {mutant.id: mutant for mutant in mutants.MUTANTS}
    if identity not in known:
        sys.exit(f"expected one of {', '.join(sorted(known))}, got {identity!r}")
    ready = {
        "name": f"mutant:{identity}",
        "version": versions_of("quantref").get("quantref", "0"),
        "backend": "numpy",
        "precision": "float32",
        "operations": list(OPERATIONS),
        "choices": ["all"],
        "versions": versions_of("quantref", "numpy"),
    }
    serve(mutants.load(known[identity]).answer, ready, out)


if __name__ == "__main__":
    main()
