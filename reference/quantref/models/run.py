"""GPTQ through the blocks of a model: run, sum Hessians, quantize, run on.

    EMBED      X ← what the layers before the first block make of the calibration windows
    for each block:
      for each stage of it:
        CALIBRATE  run the block on X up to the stage's layers; sum their Hessians
        QUANTIZE   every layer of the stage; from here on the block computes with the result
      RUN ON     X ← the output of the block on X

A stage has the layers that get the same inputs, in the order in which the block calls them, so that
a layer's Hessian is that of what quantized layers before it really give (`true_sequential`, as the
original code has it). With all layers of a block in one stage it is the order of the Keras
documentation (CAL-130).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.config import GPTQConfig
from quantref.errors import CalibrationError, ModelError, NotPositiveDefiniteError
from quantref.inputs import Array
from quantref.models.answer import Answer, joined, rows_of
from quantref.models.capture import Enough, Hessians, Scout, Watcher
from quantref.models.checkpoint import Checkpoint
from quantref.models.protocols import Batch, Block, Here, Layer, Listener, Mapper
from quantref.models.record import LayerRecord, record_of
from quantref.models.task import Task, parts_of


@dataclass(frozen=True)
class Settings:
    """What decides the result, apart from model and data.

    Attributes
    ----------
    config : GPTQConfig
        Its dataset and tokenizer are not read here.
    dtype : str
        Working precision of the feedback, "float32" or "float64".
    true_sequential : bool
        False: all layers of a block are calibrated with the float block (CAL-130).
    certify : bool
    given : callable, optional
        Returns, for a layer's name, what somebody else made of it (see `Task`): it is judged, and
        nothing is quantized.
    """

    config: GPTQConfig
    dtype: str = "float32"
    true_sequential: bool = True
    certify: bool = True
    given: Callable[[str], Answer | Array] | None = None


@dataclass
class Outcome:
    """What came of all blocks.

    Attributes
    ----------
    answers : dict of str to Answer
    records : list of LayerRecord
    seconds : dict of str to float
        Time of "forward", "hessian" and "tasks", as it went by here; of "gptq" and "certificate",
        as it adds up over the workers that do the tasks.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    records: list[LayerRecord] = field(default_factory=list)
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            ("forward", "hessian", "tasks", "gptq", "certificate"), 0.0
        )
    )

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the time of a block of code."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] += time.perf_counter() - start


def quantize_blocks(
    blocks: Sequence[Block],
    batches: Sequence[Batch],
    settings: Settings,
    *,
    mapper: Mapper | None = None,
    checkpoint: Checkpoint | None = None,
    listener: Listener | None = None,
) -> Outcome:
    """Quantize the layers of all blocks, in their order.  [CAL-090]

    The blocks' layers are assigned their dequantized weights on the way.

    Parameters
    ----------
    blocks : sequence of Block
    batches : sequence of Batch
        What the first block takes; their states are replaced on the way, so that the states of one
        block boundary are in memory at a time.
    settings : Settings
    mapper : Mapper, optional
        Who does the tasks; without it, this thread.
    checkpoint : Checkpoint, optional
        Layers in it are not done again; layers that are done go into it.
    listener : Listener, optional

    Returns
    -------
    Outcome

    Raises
    ------
    CalibrationError
        A layer that is not called, or gets NaN or infinity.
    NotPositiveDefiniteError
        A Hessian that is singular at the damping; names the layer.
    ModelError
        Two layers of one name.
    QuantrefError
        As `quantref.gptq_quantize`.
    """
    names = [layer.name for block in blocks for layer in block.layers]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ModelError("a name for each layer", f"{sorted(twice)} more than once", "")
    if not batches:
        raise CalibrationError("at least one window", "none", "")
    run = _Run(settings, mapper or Here(), checkpoint, listener or Listener())
    last = max((k for k, block in enumerate(blocks) if block.layers), default=-1)
    for k, block in enumerate(blocks[: last + 1]):
        run.listener.block(block.name, k, len(blocks))
        if block.layers:
            run.quantize(block, batches)
        if k < last:
            run.on(block, batches)
    return run.outcome


class _Run:
    """One walk through the blocks."""

    def __init__(
        self, settings: Settings, mapper: Mapper, checkpoint: Checkpoint | None, listener: Listener
    ) -> None:
        self.settings, self.mapper = settings, mapper
        self.checkpoint, self.listener = checkpoint, listener
        self.outcome = Outcome()

    def quantize(self, block: Block, batches: Sequence[Batch]) -> None:
        """Quantize all layers of a block."""
        layers = {layer.name: layer for layer in block.layers}
        if self.checkpoint is not None and all(name in self.checkpoint for name in layers):
            self._stage(block, list(layers), {}, batches)
            return
        scout = Scout()
        with self.outcome.timed("forward"):
            block.run(batches[0].state, scout)
        silent = [name for name in layers if name not in scout.calls]
        if silent:
            got = f"no call of {', '.join(silent)} in block {block.name}"
            raise CalibrationError("every layer to be called", got, "")
        stages = scout.stages if self.settings.true_sequential else [list(layers)]
        for stage in stages:
            self._stage(block, stage, scout.calls, batches)

    def _stage(
        self, block: Block, names: list[str], calls: dict[str, int], batches: Sequence[Batch]
    ) -> None:
        """Quantize layers that do not feed each other, or are calibrated as if they did not."""
        layers = {layer.name: layer for layer in block.layers}
        for name in names:
            if self.checkpoint is not None and name in self.checkpoint:
                record, answer = self.checkpoint.load(name)
                self._done(record, answer)
        todo = [name for name in names if name not in self.outcome.answers]
        if todo:
            # Those that are done are watched too: who shares a Hessian is part of the record.
            found = self._calibrate(block, {name: calls[name] for name in names}, batches)
            self._quantize(block, {name: layers[name] for name in todo}, found)
        for name in names:
            layers[name].assign(self._values(name))

    def _values(self, name: str) -> NDArray[np.float32]:
        """Return the weights with which a layer computes from here on."""
        given = None if self.settings.given is None else self.settings.given(name)
        if given is None or isinstance(given, Answer):
            return self.outcome.answers[name].dequantized()
        return given.astype(np.float32)

    def _calibrate(
        self, block: Block, calls: dict[str, int], batches: Sequence[Batch]
    ) -> list[tuple[list[str], NDArray[np.float64], int]]:
        """Return Hessians, the layers that have them in common, and their numbers of tokens."""
        hessians, done, total = Hessians(calls), 0, sum(batch.count for batch in batches)
        what = ", ".join(name.rpartition("/")[2] or name for name in calls)
        for batch in batches:
            watcher = Watcher(calls)
            with self.outcome.timed("forward"), suppress(Enough):
                block.run(batch.state, watcher)
            with self.outcome.timed("hessian"):
                hessians.add(watcher.inputs, batch.first)
            done += batch.count
            self.listener.windows(f"calibrating {what}", done, total)
        with self.outcome.timed("hessian"):
            return hessians.finish()

    def _quantize(
        self,
        block: Block,
        layers: dict[str, Layer],
        found: list[tuple[list[str], NDArray[np.float64], int]],
    ) -> None:
        """Quantize those of the layers that are given, with their Hessians, and keep them."""
        settings = self.settings
        found = [group for group in found if layers.keys() & {*group[0]}]
        config = _without_data(settings.config)
        jobs, shares = [], -(-self.mapper.workers // len(found))
        for names, hessian, tokens in found:
            todo = [layers[name] for name in names if name in layers]
            pieces = [piece for layer in todo for piece in self._pieces(layer, hessian)]
            count = min(shares, len(pieces))
            for k in range(count):
                mine = pieces[len(pieces) * k // count : len(pieces) * (k + 1) // count]
                task = Task(
                    hessian,
                    tuple(weights for _, weights, _ in mine),
                    config,
                    settings.dtype,
                    settings.certify,
                    () if settings.given is None else tuple(given for _, _, given in mine),
                )
                jobs.append((task, [name for name, _, _ in mine], names, tokens))
        answers: dict[str, list[Answer]] = {}
        results = self.mapper.map([job[0] for job in jobs])
        for j, (_, mine_of, names, tokens) in enumerate(jobs):
            with _naming(names, settings.config), self.outcome.timed("tasks"):
                found_now = next(results)
            for name, answer in zip(mine_of, found_now, strict=True):
                answers.setdefault(name, []).append(answer)
            later = {name for _, others, _, _ in jobs[j + 1 :] for name in others}
            for name in [name for name in answers if name not in later]:
                whole = joined(answers.pop(name))
                record = record_of(
                    name,
                    block.name,
                    whole,
                    tokens=tokens,
                    bits=config.weight_bits,
                    shared=tuple(other for other in names if other != name),
                )
                if self.checkpoint is not None:
                    self.checkpoint.save(record, whole)
                self._done(record, whole)

    def _pieces(self, layer: Layer, hessian: Array) -> Iterator[tuple[str, Array, Any]]:
        """Yield name, weights and what is given of them, part by part."""
        weights, given = layer.weights(), self.settings.given
        if weights.shape[1] != len(hessian):
            expected = f"inputs of {weights.shape[1]} features for layer {layer.name}"
            raise CalibrationError(expected, f"{len(hessian)}", "CAL-160")
        theirs = None if given is None else given(layer.name)
        for rows in parts_of(len(weights), self.settings.config):
            part = rows_of(theirs, rows) if isinstance(theirs, Answer) else theirs
            yield layer.name, weights[rows], part[rows] if isinstance(part, np.ndarray) else part

    def _done(self, record: LayerRecord, answer: Answer) -> None:
        self.outcome.answers[record.name] = answer
        self.outcome.records.append(record)
        self.outcome.seconds["gptq"] += record.figures.seconds
        self.outcome.seconds["certificate"] += record.figures.certificate_seconds
        self.listener.layer(record)

    def on(self, block: Block, batches: Sequence[Batch]) -> None:
        """Run the block, as it is by now, for the next one."""
        done, total = 0, sum(batch.count for batch in batches)
        for batch in batches:
            with self.outcome.timed("forward"):
                batch.state = block.run(batch.state, None)  # [CAL-120]
            done += batch.count
            self.listener.windows("running on", done, total)


@contextmanager
def _naming(names: list[str], config: GPTQConfig) -> Iterator[None]:
    """Name the layers of a Hessian that has no factor, and a damping to try."""
    try:
        yield
    except NotPositiveDefiniteError as error:
        more = min(max(10 * config.hessian_damping, 0.01), 1.0)
        expected = f"{error.expected} (layer {' and '.join(names)})"
        got = f"{error.got}: try hessian_damping={more:g}"
        raise NotPositiveDefiniteError(expected, got, error.requirement) from None


def _without_data(config: GPTQConfig) -> GPTQConfig:
    """Return the settings alone, which can go anywhere."""
    return GPTQConfig.from_config({**config.get_config(), "quantization_layer_structure": None})
