"""`python -m quantcheck`."""

from __future__ import annotations

import sys

from quantcheck.cli import main

sys.exit(main())
