"""Keeps the results of finished tasks of the self-test in a file, so that it can be continued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Saved:
    """Results of tasks by name, one JSON line each, written as soon as a task is finished.

    Parameters
    ----------
    path : Path, optional
        A file of an earlier run is continued; a last line that is not whole is left out. Without a
        path nothing is kept.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.results: dict[str, Any] = {}
        if path is not None and path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    made = json.loads(line)
                except ValueError:
                    continue
                self.results[made["task"]] = made["result"]

    def add(self, task: str, result: Any) -> None:
        """Keep the result of a task, which is plain JSON."""
        self.results[task] = result
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"task": task, "result": result}) + "\n")
