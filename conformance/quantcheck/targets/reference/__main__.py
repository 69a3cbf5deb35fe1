"""Target `reference`: the server of the NumPy reference."""

from __future__ import annotations

from quantcheck.targets.worker import OPERATIONS, claim_stdout, serve, versions_of


def main() -> None:
    """Serve `operations.answer`."""
    out = claim_stdout()
    from quantcheck.targets.reference import operations

    versions = versions_of("quantref", "numpy", "scipy")
    ready = {
        "name": "quantref",
        "version": versions.get("quantref", "0"),
        "backend": "numpy",
        "precision": "float32",
        "operations": list(OPERATIONS),
        "choices": ["all"],
        "versions": versions,
    }
    serve(operations.answer, ready, out)


if __name__ == "__main__":
    main()
