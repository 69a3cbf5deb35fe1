"""Finished layers on disk, from which an interrupted run continues.

A checkpoint is a folder with `run.json`, which holds the settings of the run, and one file per
layer. Every file is written under a temporary name and then renamed, so that a killed run leaves no
partial file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from quantref.errors import CheckpointError, ReportError
from quantref.formats.files import write_json, write_whole
from quantref.models.answer import Answer
from quantref.models.record import LayerRecord

ARRAYS = ("codes", "scale", "zero_point", "g_idx")


class Checkpoint:
    """The finished layers of one run.

    Parameters
    ----------
    folder : Path
        Created if it does not exist; its parent must exist.
    fingerprint : dict
        JSON values that decide the result: settings, hashes of model and calibration data,
        versions. A folder with another fingerprint is refused.

    Raises
    ------
    CheckpointError
        The folder belongs to another run, or is no checkpoint.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "run"
    >>> Checkpoint(folder, {"bits": 4}).names
    set()
    >>> Checkpoint(folder, {"bits": 3})
    Traceback (most recent call last):
    quantref.errors.CheckpointError: expected a checkpoint of bits=3 in ..., got bits=4
    """

    def __init__(self, folder: Path, fingerprint: dict[str, Any]) -> None:
        self.folder = folder
        first = folder / "run.json"
        if first.exists():
            _require_same(first, fingerprint)
        elif folder.exists() and any(p for p in folder.iterdir() if not p.name.startswith(".")):
            raise CheckpointError(f"an empty folder or a checkpoint in {folder}", "other files", "")
        else:
            folder.mkdir(exist_ok=True)
            write_json(first, fingerprint)
        for partial in folder.glob(".*.part*"):  # left by a killed run
            partial.unlink(missing_ok=True)

    @property
    def names(self) -> set[str]:
        """Names of the files of finished layers."""
        return {path.stem for path in self.folder.glob("[!.]*.npz")}

    def __contains__(self, name: str) -> bool:
        return self._path(name).exists()

    def _path(self, name: str) -> Path:
        return self.folder / f"{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}.npz"

    def save(self, record: LayerRecord, answer: Answer) -> None:
        """Write a finished layer.

        Raises
        ------
        OSError
            Writing failed; the files that exist stay unchanged.
        """
        text = json.dumps(record.to_json(), allow_nan=False).encode()
        arrays = {name: getattr(answer, name) for name in ARRAYS}

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, record=np.frombuffer(text, np.uint8), **arrays)

        write_whole(self._path(record.name), write)

    def load(self, name: str) -> tuple[LayerRecord, Answer]:
        """Read a finished layer.

        Raises
        ------
        CheckpointError
            Its file is damaged.
        """
        path = self._path(name)
        try:
            # Reading an array checks its checksum.
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                record = LayerRecord.from_json(json.loads(bytes(file["record"])))
                codes, scale, zero_point, g_idx = (file[a] for a in ARRAYS)
        except (OSError, KeyError, ValueError, EOFError, ReportError, zipfile.BadZipFile) as error:
            expected = f"a layer's checkpoint in {path}"
            got = f"{type(error).__name__}: {error}; remove that file to quantize the layer again"
            raise CheckpointError(expected, got, "") from None
        answer = Answer(codes, scale, zero_point, g_idx, record.figures, record.hessian)
        if record.name != name or answer.codes.shape != (record.n_out, record.n_in):
            got = f"layer {record.name!r}, codes {answer.codes.shape}"
            raise CheckpointError(f"layer {name!r} in {path}", got, "")
        return record, answer

    def remove(self) -> None:
        """Remove the folder, after the result is written or if it holds no layer."""
        shutil.rmtree(self.folder)


def _require_same(path: Path, fingerprint: dict[str, Any]) -> None:
    """Raise unless the checkpoint belongs to this run."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"JSON in {path}", f"{error}", "") from None
    asked = json.loads(json.dumps(fingerprint))
    if found == asked:
        return
    if not isinstance(found, dict):
        raise CheckpointError(f"a fingerprint in {path}", f"{found!r:.40}", "")
    keys = [k for k in {**asked, **found} if asked.get(k) != found.get(k)]
    wanted, stored = (", ".join(f"{k}={d.get(k)!r}" for k in keys) for d in (asked, found))
    raise CheckpointError(f"a checkpoint of {wanted} in {path.parent}", stored, "")
