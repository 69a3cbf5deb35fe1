"""`quantref.models` on NumPy blocks: stages, Hessians, records, checkpoints, bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.reference.plain_models import PlainBlock, attention, batches, dense_model

from quantref import (
    GPTQConfig,
    accumulate_hessian,
    affine_dequantize,
    affine_parameters,
    affine_quantize,
    certify,
    gptq_quantize,
    group_index,
)
from quantref.calibration import quantize_model_gptq
from quantref.errors import (
    CalibrationError,
    CheckpointError,
    ModelError,
    NotPositiveDefiniteError,
    ShapeError,
)
from quantref.models import (
    Batch,
    Checkpoint,
    LayerRecord,
    Listener,
    Outcome,
    Report,
    Settings,
    quantize_blocks,
)
from quantref.models import task as tasks
from quantref.models.answer import Answer
from quantref.models.task import Task, run_task

CONFIG = GPTQConfig(None, None, weight_bits=3, group_size=8)
SETTINGS = Settings(CONFIG, dtype="float64")


def codes(outcome: Outcome) -> dict[str, bytes]:
    return {name: answer.codes.tobytes() for name, answer in outcome.answers.items()}


def test_block_at_once_is_the_order_of_the_specification() -> None:
    model, blocks = dense_model()
    windows = np.random.default_rng(0).integers(0, 20, (6, 9))
    expected = quantize_model_gptq(model, windows, CONFIG)
    states = [Batch(k, 2, model.embedding[windows[k : k + 2]]) for k in range(0, 6, 2)]
    outcome = quantize_blocks(blocks, states, replace(SETTINGS, true_sequential=False))
    assert [record.name for record in outcome.records] == [
        f"block_{b}/dense_{k}" for b in range(2) for k in range(2)
    ]
    for record, result in zip(outcome.records, expected, strict=True):
        answer = outcome.answers[record.name]
        np.testing.assert_array_equal(answer.codes, result.codes)
        np.testing.assert_array_equal(answer.zero_point, result.zero_point)
        assert record.tokens == windows.size


def test_true_sequential_calibrates_with_what_quantized_layers_give() -> None:
    blocks, given = attention(1), batches()
    x = np.concatenate([b.state for b in given])
    q, k, v, out = [layer.values for layer in blocks[0].layers]
    outcome = quantize_blocks(blocks, given, SETTINGS)
    first = accumulate_hessian([x], dtype=np.float32)
    values = [gptq_quantize(w, first, CONFIG).dequantized() for w in (q, k, v)]
    q, k, v = (value.astype(np.float32) for value in values)
    inner = np.tanh((x @ q.T) * (x @ k.T)) + x @ v.T
    answer = outcome.answers["block_0/out"]
    H = accumulate_hessian([inner])
    assert certify(out, H, answer, CONFIG, hessian_error=1e-5).passed
    float_inner = (
        np.tanh((x @ attention(1)[0].layers[0].values.T) * (x @ attention(1)[0].layers[1].values.T))
        + x @ attention(1)[0].layers[2].values.T
    )
    assert not certify(out, accumulate_hessian([float_inner]), answer, CONFIG).passed


def test_layers_with_the_same_inputs_share_a_hessian_and_a_pass() -> None:
    blocks, given = attention(2), batches()
    outcome = quantize_blocks(blocks, given, SETTINGS)
    shared = {record.name: record.shared for record in outcome.records}
    assert shared["block_0/query"] == ("block_0/key", "block_0/value")
    assert shared["block_0/out"] == ()
    # scout, two stages on four batches each, and on through all but the last block
    assert [block.runs for block in blocks] == [1 + 8 + 4, 1 + 8]
    assert all(layer.assigned == 1 for block in blocks for layer in block.layers)


def test_a_stage_runs_no_further_than_it_has_to() -> None:
    reached: list[str] = []

    class Counting(PlainBlock):
        def call(self, j: int, x, watch):  # type: ignore[no-untyped-def]
            reached.append(self.layers[j].name)
            return super().call(j, x, watch)

    block = Counting("block_0", attention(1)[0].layers)
    quantize_blocks([block], batches(count=2), SETTINGS)
    runs = "".join(name.rpartition("/")[2][0] for name in reached)
    assert runs == "qkvo" + "qkv" * 2 + "qkvo" * 2


class Diverging(PlainBlock):
    """The inputs of key and query are equal in the first batch only."""

    first: float

    def run(self, state, watch):  # type: ignore[no-untyped-def]
        late = float(state.flat[0]) != self.first
        q = self.call(0, state, watch)
        return state + q + self.call(1, state * (2.0 if late else 1.0), watch)


def test_layers_whose_inputs_part_ways_have_hessians_of_their_own() -> None:
    given = batches()
    block = Diverging("block_0", attention(1)[0].layers[:2])
    block.first = float(given[0].state.flat[0])
    xs = [b.state for b in given]
    outcome = quantize_blocks([block], given, SETTINGS)
    weights = [layer.values for layer in attention(1)[0].layers[:2]]
    for name, w, inputs in (
        ("query", weights[0], xs),
        ("key", weights[1], [xs[0], *(2 * x for x in xs[1:])]),
    ):
        H = accumulate_hessian(inputs)
        answer = outcome.answers[f"block_0/{name}"]
        assert certify(w, H, answer, CONFIG, hessian_error=1e-5).passed, name
    assert [record.shared for record in outcome.records] == [(), ()]


def test_records_say_what_a_certificate_says() -> None:
    blocks, given = attention(1), batches()
    x = np.concatenate([b.state for b in given])
    w = blocks[0].layers[0].values
    outcome = quantize_blocks(blocks, given, SETTINGS)
    record, answer = outcome.records[0], outcome.answers["block_0/query"]
    H = accumulate_hessian([x], dtype=np.float32)
    certificate = certify(w, H, answer, CONFIG)
    f = record.figures
    assert record.verdict == "certified"
    assert f.loss == pytest.approx(certificate.loss, rel=1e-5)
    assert f.loss < f.bound <= certificate.loss_bound
    assert f.loss < f.plain_loss
    ends = (answer.codes == 0) | (answer.codes == 7)
    assert f.clipped == int((np.abs(certificate.residual_steps)[ends] > 0.5).sum())
    assert 0 < f.clipped < ends.sum()
    assert f.codes == sum(f.residuals) == w.size
    assert record.hessian is not None
    damped = H + np.eye(16) * 0.01 * np.mean(np.diagonal(H))
    assert record.hessian.added == pytest.approx(0.01 * np.mean(np.diagonal(H)), rel=1e-6)
    exact = np.linalg.cond(damped, 1)
    assert 0.3 * exact <= record.hessian.condition <= 1.001 * exact  # an estimate from below
    assert record.tokens == x.shape[0] * x.shape[1]
    assert LayerRecord.from_json(record.to_json()) == record
    singular = replace(record, hessian=replace(record.hessian, condition=float("inf")))
    text = json.dumps(singular.to_json(), allow_nan=False)
    assert LayerRecord.from_json(json.loads(text)) == singular
    report = Report((record,), seconds=outcome.seconds)
    assert Report.from_json(report.to_json()) == report


def test_plain_rounding_is_that_of_the_original_ranges() -> None:
    """Against the public functions, in the damped Hessian, columns in their own order."""
    rng = np.random.default_rng(3)
    w, x = rng.normal(size=(6, 20)).astype(np.float32), rng.normal(size=(50, 20))
    config = GPTQConfig(None, None, weight_bits=3, group_size=8, activation_order=True)
    H = accumulate_hessian([x])
    (answer,) = run_task(Task(H, (w,), config))
    scale, zero_point = affine_parameters(w, bits=3, group_size=8)
    g_idx = group_index(20, 8)
    codes = affine_quantize(w, scale, zero_point, g_idx, bits=3)
    d = w.astype(np.float64) - affine_dequantize(codes, scale, zero_point, g_idx)
    damped = H + 0.01 * np.mean(np.diagonal(H)) * np.eye(20)
    assert answer.figures.plain_loss == pytest.approx(np.trace(d @ damped @ d.T), rel=1e-5)


@pytest.mark.parametrize("order", [False, True])
def test_codes_are_recovered_from_weights_in_later_blocks_too(order: bool) -> None:
    """Groups of columns 128 and on take their ranges from weights with errors applied."""
    rng = np.random.default_rng(4)
    w, x = rng.normal(size=(3, 200)).astype(np.float32), rng.normal(size=(300, 200))
    x += rng.normal(size=(300, 1))
    config = GPTQConfig(None, None, weight_bits=3, group_size=32, activation_order=order)
    H = accumulate_hessian([x])
    (made,) = run_task(Task(H, (w,), config, dtype="float64"))
    (found,) = run_task(Task(H, (w,), config, to_judge=(made.dequantized(),)))
    assert not found.figures.failures
    np.testing.assert_array_equal(found.codes, made.codes)
    np.testing.assert_allclose(found.scale, made.scale, rtol=1e-5)


def test_without_a_certificate_losses_are_the_same() -> None:
    judged = quantize_blocks(attention(1), batches(), SETTINGS)
    unjudged = quantize_blocks(attention(1), batches(), replace(SETTINGS, certify=False))
    assert codes(judged) == codes(unjudged)
    for one, other in zip(judged.records, unjudged.records, strict=True):
        assert other.verdict == "not judged"
        assert (one.figures.loss, one.figures.bound) == (other.figures.loss, other.figures.bound)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize(("symmetric", "per_channel"), [(True, True), (False, False)])
def test_every_field_of_the_configuration_acts(
    bits: int, order: bool, symmetric: bool, per_channel: bool
) -> None:
    config = GPTQConfig(
        None, None, weight_bits=bits, group_size=5, activation_order=order, symmetric=symmetric,
        per_channel=per_channel, hessian_damping=0.05,
    )  # fmt: skip
    blocks, given = attention(1), batches()
    x, w = np.concatenate([b.state for b in given]), blocks[0].layers[0].values
    outcome = quantize_blocks(blocks, given, Settings(config, dtype="float64"))
    expected = gptq_quantize(w, accumulate_hessian([x], dtype=np.float32), config)
    answer = outcome.answers["block_0/query"]
    np.testing.assert_array_equal(answer.codes, expected.codes)
    np.testing.assert_array_equal(answer.g_idx, expected.g_idx)
    assert Report(tuple(outcome.records)).passed


class Scattered:
    """Splits stages among so many, backwards."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.tasks = 0

    def map(self, given: Sequence[Task]) -> Iterator[list[Answer]]:
        self.tasks += len(given)
        return iter([run_task(task) for task in reversed(given)][::-1])


@pytest.mark.parametrize("workers", [2, 3, 50])
def test_any_number_of_workers_gives_the_same_bytes(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "ROWS_PER_PART", 5)
    settings = replace(SETTINGS, dtype="float32")
    alone = quantize_blocks(attention(), batches(), settings)
    mapper = Scattered(workers)
    spread = quantize_blocks(attention(), batches(), settings, mapper=mapper)
    assert mapper.tasks > 4
    assert codes(alone) == codes(spread)
    for name, answer in alone.answers.items():
        assert answer.scale.tobytes() == spread.answers[name].scale.tobytes()
    losses = [(r.name, r.figures.loss) for r in alone.records]
    assert losses == [(r.name, r.figures.loss) for r in spread.records]


class StopError(Exception):
    pass


class After(Listener):
    """Stops a run after so many layers."""

    def __init__(self, layers: int) -> None:
        self.left = layers

    def layer(self, record: LayerRecord) -> None:  # noqa: ARG002 - as the base class has it
        self.left -= 1
        if self.left < 0:
            raise StopError


@pytest.mark.parametrize("true_sequential", [True, False])
@pytest.mark.parametrize("layers", range(8))
def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(
    layers: int, true_sequential: bool, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, dtype="float32", true_sequential=true_sequential)
    whole = quantize_blocks(attention(), batches(), settings)
    checkpoint = Checkpoint(tmp_path / "run", {"bits": 3})
    with pytest.raises(StopError):
        quantize_blocks(
            attention(), batches(), settings, checkpoint=checkpoint, listener=After(layers)
        )
    assert len(checkpoint.names) == layers + 1
    (tmp_path / "run" / ".left.part.npz").write_bytes(b"half")
    again = Checkpoint(tmp_path / "run", {"bits": 3})
    blocks = attention()
    rest = quantize_blocks(blocks, batches(), settings, checkpoint=again)
    assert codes(rest) == codes(whole)
    assert not list((tmp_path / "run").glob(".*"))
    assert {r.name: (r.figures.loss, r.shared) for r in rest.records} == {
        r.name: (r.figures.loss, r.shared) for r in whole.records
    }
    third = attention()
    quantize_blocks(third, batches(), settings, checkpoint=again)
    assert third[0].runs == 4  # on to the next block, nothing else
    for one, other in zip(blocks, third, strict=True):
        for a, b in zip(one.layers, other.layers, strict=True):
            np.testing.assert_array_equal(a.values, b.values)


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other"])
def test_a_damaged_checkpoint_is_refused(damage: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run", {})
    quantize_blocks(attention(1), batches(), SETTINGS, checkpoint=checkpoint)
    path = max((tmp_path / "run").glob("*.npz"))
    data = bytearray(path.read_bytes())
    if damage == "other":
        path.write_bytes(min((tmp_path / "run").glob("*.npz")).read_bytes())
    elif damage == "bit":
        place = data.index(b"codes.npy") + 200
        data[place] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    with pytest.raises(CheckpointError, match=path.name if damage != "other" else "layer "):
        quantize_blocks(attention(1), batches(), SETTINGS, checkpoint=checkpoint)
    path.unlink()
    quantize_blocks(attention(1), batches(), SETTINGS, checkpoint=checkpoint)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "run", {"bits": 4, "model": "a"})
    with pytest.raises(CheckpointError, match=r"bits=3.*got bits=4"):
        Checkpoint(tmp_path / "run", {"bits": 3, "model": "a"})
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(CheckpointError, match="JSON"):
        Checkpoint(tmp_path / "run", {"bits": 4, "model": "a"})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="other files"):
        Checkpoint(tmp_path / "other", {})
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["thesis.txt"]
    checkpoint = Checkpoint(tmp_path / "third", {})
    checkpoint.remove()
    assert not (tmp_path / "third").exists()


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path / "run", {})
    with pytest.raises(StopError):
        quantize_blocks(attention(1), batches(), SETTINGS, checkpoint=checkpoint, listener=After(0))

    def full(file, **arrays):  # type: ignore[no-untyped-def]
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(OSError, match="No space"):
            quantize_blocks(attention(1), batches(), SETTINGS, checkpoint=checkpoint)
    names = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert len(names) == 2
    assert names[1] == "run.json"
    rest = quantize_blocks(attention(1), batches(), SETTINGS, checkpoint=checkpoint)
    assert codes(rest) == codes(quantize_blocks(attention(1), batches(), SETTINGS))
    shutil.rmtree(tmp_path / "run")


def test_nan_is_refused_with_layer_and_window() -> None:
    given = batches()
    given[2].state[1, 4, 5] = np.nan  # of window 2 · 3 + 1
    with pytest.raises(CalibrationError, match=r"block_0/query and .*/key and .* in window 7"):
        quantize_blocks(attention(), given, SETTINGS)


def test_a_singular_hessian_is_refused_with_layer_and_damping() -> None:
    config = GPTQConfig(None, None, group_size=8, hessian_damping=0.0)
    x = np.zeros((1, 10, 16))
    x[..., 0] = x[..., 1] = np.arange(10)
    x[..., 2:] = np.random.default_rng(0).normal(size=14)
    with pytest.raises(NotPositiveDefiniteError, match=r"block_0/query.*try hessian_damping=0.01"):
        quantize_blocks(attention(), [Batch(0, 1, x)], replace(SETTINGS, config=config))


def test_blocks_that_cannot_be_calibrated_are_refused() -> None:
    with pytest.raises(CalibrationError, match="at least one window"):
        quantize_blocks(attention(), [], SETTINGS)
    twice = attention(1) * 2
    with pytest.raises(ModelError, match=r"block_0/key.*more than once"):
        quantize_blocks(twice, batches(), SETTINGS)

    class Idle(PlainBlock):
        def run(self, state, watch):  # type: ignore[no-untyped-def]
            return self.call(0, state, watch)

    idle = Idle("idle", attention(1)[0].layers[:2])
    with pytest.raises(CalibrationError, match=r"no call of block_0/key in block idle"):
        quantize_blocks([idle], batches(), SETTINGS)

    class Narrow(PlainBlock):
        def run(self, state, watch):  # type: ignore[no-untyped-def]
            watch(self.layers[0].name, state[..., :5])
            return state

    narrow = Narrow("narrow", attention(1)[0].layers[:1])
    with pytest.raises(CalibrationError, match=r"16 features for layer block_0/query, got 5"):
        quantize_blocks([narrow], batches(), SETTINGS)


def test_a_problem_of_other_weights_keeps_the_factor() -> None:
    from quantref.fast.problem import prepare_problem

    w, H = np.eye(4, dtype=np.float32), np.eye(4) + 0.25
    problem = prepare_problem(w, H, CONFIG)
    unit = problem.M
    other = problem.with_weights(w[:2] * 3)
    assert other.M is unit
    assert other.shape == (2, 4)
    np.testing.assert_array_equal(other.weights, w[:2] * 3)
    with pytest.raises(ShapeError, match="4 columns"):
        problem.with_weights(np.ones((2, 3)))
