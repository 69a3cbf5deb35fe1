"""`python -m tests.benchmarks.speed`: the whole speed table."""

import sys

from tests.benchmarks.speed.command import main

if __name__ == "__main__":
    sys.exit(main())
