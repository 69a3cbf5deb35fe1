"""`python3 conformance TARGET…`: quantcheck from a fresh checkout, with nothing installed."""

import sys

import bootstrap

if __name__ == "__main__":
    sys.exit(bootstrap.guarded(bootstrap.conformance))
