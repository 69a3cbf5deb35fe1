"""GPTQ through the blocks of a model: run, sum Hessians, quantize, run on.

    EMBED      X ← the output of the layers before the first block, for the calibration windows
    for each block:
      for each stage of the block:
        CALIBRATE  run the block on X up to the stage's layers; sum their Hessians
        QUANTIZE   every layer of the stage; the block computes with the result from then on
      ADVANCE    X ← the output of the block on X

A stage holds the layers that get the same inputs. Stages follow each other in the order in which
the block calls their layers. So a layer's Hessian is computed from the outputs of the quantized
layers before it (`true_sequential`, as in the original code). If all layers of a block are in one
stage, the order is that of the Keras documentation (CAL-130).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantref.certificate import U32
from quantref.config import GPTQConfig
from quantref.errors import CalibrationError, ModelError, NotPositiveDefiniteError
from quantref.inputs import Array
from quantref.models.answer import Answer, joined, rows_of
from quantref.models.capture import AllLayersSeen, Hessians, Scout, Watcher
from quantref.models.checkpoint import Checkpoint
from quantref.models.protocols import Batch, Block, Layer, Listener, Mapper, SerialMapper
from quantref.models.record import LayerRecord, record_of
from quantref.models.task import Task, parts_of


@dataclass(frozen=True)
class Settings:
    """The settings that decide the result, together with model and data.

    Attributes
    ----------
    config : GPTQConfig
        Its dataset and tokenizer are ignored here.
    dtype : str
        Working precision of the feedback, "float32" or "float64".
    true_sequential : bool
        False: all layers of a block are calibrated with the float block (CAL-130).
    certify : bool
    unit_roundoff, factor_roundoff : float, float or None
        Of the arithmetic that made the answers to judge; see `quantref.certify`.
    to_judge : callable, optional
        Returns, for a layer's name, an answer of another quantizer (see `Task`). The answer is
        judged, and nothing is quantized.
    """

    config: GPTQConfig
    dtype: str = "float32"
    true_sequential: bool = True
    certify: bool = True
    unit_roundoff: float = U32
    factor_roundoff: float | None = None
    to_judge: Callable[[str], Answer | Array] | None = None


@dataclass
class Outcome:
    """The answers and records of all blocks.

    Attributes
    ----------
    answers : dict of str to Answer
    records : list of LayerRecord
    seconds : dict of str to float
        "forward", "hessian" and "tasks" are elapsed times; "gptq" and "certificate" are sums over
        the workers that run the tasks.
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

    Each layer is assigned its dequantized weights as soon as it is quantized.

    Parameters
    ----------
    blocks : sequence of Block
    batches : sequence of Batch
        Inputs of the first block. Their states are replaced after each block, so that memory holds
        the states of one block boundary only.
    settings : Settings
    mapper : Mapper, optional
        Runs the tasks; by default, this thread does.
    checkpoint : Checkpoint, optional
        Layers that it holds are read from it; every other layer is added to it.
    listener : Listener, optional

    Returns
    -------
    Outcome

    Raises
    ------
    CalibrationError
        A layer is not called, or gets NaN or infinity.
    NotPositiveDefiniteError
        A damped Hessian is singular; the message names the layer.
    ModelError
        Two layers have the same name.
    QuantrefError
        As `quantref.gptq_quantize`.
    """
    names = [layer.name for block in blocks for layer in block.layers]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ModelError("a name for each layer", f"{sorted(twice)} more than once", "")
    if not batches:
        raise CalibrationError("at least one window", "none", "")
    run = _Run(settings, mapper or SerialMapper(), checkpoint, listener or Listener())
    last = max((k for k, block in enumerate(blocks) if block.layers), default=-1)
    for k, block in enumerate(blocks[: last + 1]):
        run.listener.block(block.name, k, len(blocks))
        if block.layers:
            run.quantize(block, batches)
        if k < last:
            run.advance(block, batches)
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
        """Quantize the layers of one stage, which are calibrated together."""
        layers = {layer.name: layer for layer in block.layers}
        for name in names:
            if self.checkpoint is not None and name in self.checkpoint:
                record, answer = self.checkpoint.load(name)
                self._done(record, answer)
        todo = [name for name in names if name not in self.outcome.answers]
        if todo:
            # Finished layers are watched too: a record names the layers that share its Hessian.
            found = self._calibrate(block, {name: calls[name] for name in names}, batches)
            self._quantize(block, {name: layers[name] for name in todo}, found)
        for name in names:
            layers[name].assign(self._values(name))

    def _values(self, name: str) -> NDArray[np.float32]:
        """Return the weights with which a layer computes from here on."""
        answer = None if self.settings.to_judge is None else self.settings.to_judge(name)
        if answer is None or isinstance(answer, Answer):
            return self.outcome.answers[name].dequantized()
        return answer.astype(np.float32)

    def _calibrate(
        self, block: Block, calls: dict[str, int], batches: Sequence[Batch]
    ) -> list[tuple[list[str], NDArray[np.float64], int]]:
        """Return for each Hessian: the layers that share it, itself, and its number of tokens."""
        hessians, done, total = Hessians(calls), 0, sum(batch.count for batch in batches)
        what = ", ".join(name.rpartition("/")[2] or name for name in calls)
        for batch in batches:
            watcher = Watcher(calls)
            with self.outcome.timed("forward"), suppress(AllLayersSeen):
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
        """Quantize these layers with the Hessians that `_calibrate` found, and keep the answers."""
        settings = self.settings
        found = [group for group in found if layers.keys() & {*group[0]}]
        config = _without_data(settings.config)
        jobs, shares = [], -(-self.mapper.workers // len(found))
        for names, hessian, tokens in found:
            todo = [layers[name] for name in names if name in layers]
            pieces = [piece for layer in todo for piece in self._pieces(layer, hessian)]
            count = min(shares, len(pieces))
            for k in range(count):
                share = pieces[len(pieces) * k // count : len(pieces) * (k + 1) // count]
                task = Task(
                    hessian,
                    tuple(weights for _, weights, _ in share),
                    config,
                    settings.dtype,
                    settings.certify,
                    settings.unit_roundoff,
                    settings.factor_roundoff,
                    ()
                    if settings.to_judge is None
                    else tuple(to_judge for _, _, to_judge in share),
                )
                jobs.append((task, [name for name, _, _ in share], names, tokens))
        answers: dict[str, list[Answer]] = {}
        results = self.mapper.map([job[0] for job in jobs])
        for j, (_, names_in_task, names, tokens) in enumerate(jobs):
            with _naming(names, settings.config), self.outcome.timed("tasks"):
                found_now = next(results)
            for name, answer in zip(names_in_task, found_now, strict=True):
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
        """Yield name, weights and answer to judge (None if there is none), part by part."""
        weights, to_judge = layer.weights(), self.settings.to_judge
        if weights.shape[1] != len(hessian):
            expected = f"inputs of {weights.shape[1]} features for layer {layer.name}"
            raise CalibrationError(expected, f"{len(hessian)}", "CAL-160")
        answer = None if to_judge is None else to_judge(layer.name)
        for rows in parts_of(len(weights), self.settings.config):
            part = rows_of(answer, rows) if isinstance(answer, Answer) else answer
            yield layer.name, weights[rows], part[rows] if isinstance(part, np.ndarray) else part

    def _done(self, record: LayerRecord, answer: Answer) -> None:
        self.outcome.answers[record.name] = answer
        self.outcome.records.append(record)
        self.outcome.seconds["gptq"] += record.figures.seconds
        self.outcome.seconds["certificate"] += record.figures.certificate_seconds
        self.listener.layer(record)

    def advance(self, block: Block, batches: Sequence[Batch]) -> None:
        """Run the block with its current weights; its output is the next block's input."""
        done, total = 0, sum(batch.count for batch in batches)
        for batch in batches:
            with self.outcome.timed("forward"):
                batch.state = block.run(batch.state, None)  # [CAL-120]
            done += batch.count
            self.listener.windows("computing outputs", done, total)


@contextmanager
def _naming(names: list[str], config: GPTQConfig) -> Iterator[None]:
    """Add to the error of a Hessian without a factor: its layers, and a damping to try."""
    try:
        yield
    except NotPositiveDefiniteError as error:
        more = min(max(10 * config.hessian_damping, 0.01), 1.0)
        expected = f"{error.expected} (layer {' and '.join(names)})"
        got = f"{error.got}: try hessian_damping={more:g}"
        raise NotPositiveDefiniteError(expected, got, error.requirement) from None


def _without_data(config: GPTQConfig) -> GPTQConfig:
    """Return the config without dataset and tokenizer, so that it can be pickled."""
    return GPTQConfig.from_config({**config.get_config(), "quantization_layer_structure": None})
