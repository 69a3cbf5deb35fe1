"""The speed table: what its verdicts follow from, and that a run leaves what it should."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.benchmarks.speed import peers, problems, rows_gptq, rows_whole
from tests.benchmarks.speed.command import main
from tests.benchmarks.speed.row import (
    Limit,
    Measured,
    NotAvailableError,
    Outcome,
    Row,
    Settings,
    Work,
)
from tests.benchmarks.speed.rows import all_rows, chosen_rows
from tests.benchmarks.speed.run import Run, measure
from tests.benchmarks.speed.table import show
from tests.benchmarks.speed.timing import (
    LEAST_ROUNDS,
    MOST_ROUNDS,
    Contestant,
    Plan,
    interleave,
    medians,
    per_round,
)

from quantref import certify, gptq_quantize
from quantref.affine import group_index
from quantref.formats.files import write_whole
from quantref.gptq import GPTQResult

Output = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]
FAST = ["absmax-axis-0", "pack-last-axis", "import-without-scipy"]


def speed(*arguments: str | Path, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run `python -m tests.benchmarks.speed --quick …` in a process of its own, in the checkout."""
    command = [sys.executable, "-m", "tests.benchmarks.speed", "--quick", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds
    )


def outcome(figures: list[float], limit: Limit, **named: Any) -> Outcome:
    measured = Measured(figures, {}, {}, **named)
    return Outcome(Row("row", "what", limit, lambda _: measured), measured)


# Figures


@pytest.mark.parametrize(
    ("figures", "limit", "verdict"),
    [
        ([1.3, 9.0, 1.0], Limit(high=1.3), "met"),  # the median, not the mean
        ([1.31, 1.32, 0.1], Limit(high=1.3), "missed"),
        ([49.9, 49.9, 900.0], Limit(low=50), "missed"),
        ([50.0], Limit(low=50), "met"),
        ([0.0], Limit(high=0), "met"),
        ([0.89], Limit(0.9, 1.1), "missed"),
        ([1.0], Limit(0.9, 1.1), "met"),
        ([1.11], Limit(0.9, 1.1), "missed"),
        ([math.nan], Limit(high=1.0), "missed"),
        ([math.inf], Limit(high=1.0), "missed"),
    ],
)
def test_a_verdict_follows_from_median_and_limit(
    figures: list[float], limit: Limit, verdict: str
) -> None:
    assert outcome(figures, limit).verdict == verdict
    assert outcome(figures, limit).as_json()["verdict"] == verdict


def test_contestants_take_turns_and_the_first_round_warms_up() -> None:
    turns: list[str] = []

    def once(name: str, seconds: float) -> Contestant:
        def run() -> float:
            turns.append(name)
            return seconds + len(turns)

        return Contestant(name, run)

    times = interleave([once("a", 0.0), once("b", 100.0)], Plan(seconds=1e9, rounds=3))
    assert turns == ["a", "b"] * 4
    assert times == {"a": [3.0, 5.0, 7.0], "b": [104.0, 106.0, 108.0]}
    assert medians(times) == {"a": 5.0, "b": 106.0}
    ratios = per_round(times, lambda s: s["b"] - s["a"])
    assert ratios == [101.0, 101.0, 101.0], "each from the times of one round"


@pytest.mark.parametrize(
    ("cost", "rounds"),
    [(0.0, MOST_ROUNDS), (1.0, 20), (2.0, 10), (10.0, LEAST_ROUNDS), (1e4, LEAST_ROUNDS)],
)
def test_rounds_go_by_cost(cost: float, rounds: int) -> None:
    turns: list[float] = []

    def run() -> float:
        turns.append(cost)
        return cost

    times = interleave([Contestant("a", run)], Plan(20.0))
    assert len(times["a"]) == rounds
    # A call longer than the whole row should be is not made once more to warm up.
    assert len(turns) == rounds + (cost <= 20.0)


def test_work_over_time() -> None:
    work = Work(operations=6e9, bytes=3e9, seconds=2.0).as_json()
    assert (work["gflops"], work["intensity"]) == (3.0, 2.0)


def test_what_cannot_be_measured_says_why() -> None:
    def refuse(_: Settings) -> Measured:
        raise NotAvailableError("no such thing", {"peer": "not installed"})

    got = measure(Row("row", "what", Limit(high=1), refuse), Settings())
    assert (got.verdict, got.ratio, got.reason) == ("not available", None, "no such thing")
    assert got.as_json()["left_out"] == {"peer": "not installed"}
    crowd = measure(Row("row", "what", Limit(high=1), refuse, cores=10_000), Settings())
    assert crowd.reason.startswith("needs 10000 cores")


def test_one_worker_and_two_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def with_workers(W: Any, H: Any, config: Any, *, dtype: Any, workers: int = 1) -> None:
        asked.append(workers)

    settings = Settings(quick=True, rounds=2)
    measuring = rows_gptq.workers(64)
    monkeypatch.setattr(rows_gptq, "gptq_quantize", with_workers)
    assert len(measuring(settings).figures) == 2
    assert asked == [1, 2] * 3


def test_peak_memory_is_that_of_the_call() -> None:
    before = np.zeros(10**6)
    peak = rows_whole.peak_bytes(lambda: before + 1)
    assert 8e6 <= peak < 8.1e6


# Rows


def test_every_row_has_a_name_of_its_own_and_a_limit() -> None:
    rows = all_rows()
    assert len({row.name for row in rows}) == len(rows) > 40
    for row in rows:
        assert re.fullmatch(r"[a-z0-9_]+(-[a-z0-9_]+)*", row.name)
        assert (row.limit.low, row.limit.high) != (None, None)
        assert row.cores >= row.threads


def test_rows_are_chosen_by_name_and_pattern() -> None:
    assert [row.name for row in chosen_rows(["import-time", "pack-*"])] == [
        "pack-axis-0", "pack-last-axis", "import-time"]  # fmt: skip
    assert [row.name for row in chosen_rows([])] == [row.name for row in all_rows()]


# The command


@pytest.mark.everything
def test_a_run(tmp_path: Path) -> None:
    report, picture = tmp_path / "speed.json", tmp_path / "speed.png"
    growth = ["growth-n_out", "growth-n_in", "gptq-1024"]
    done = speed("--only", *FAST, *growth, "--rounds", "2", "--json", report, "--plot", picture)
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text("utf-8"))
    assert (found["format"], found["format_version"]) == ("quantref-speed", 1)
    assert (found["quick"], found["interrupted"], found["not_run"]) == (True, False, [])
    assert {"numpy", "scipy", "python", "quantref"} <= set(found["machine"]["versions"])
    assert found["machine"]["processor"] in done.stdout
    assert {library["of"] for library in found["machine"]["blas"]} <= {"numpy", "scipy", "system"}
    assert all(rate > 0 for rate in found["rates"]["1"].values())
    rows = {row["name"]: row for row in found["rows"]}
    assert set(rows) == {*FAST, *growth}
    for row in rows.values():
        limit = Limit(row["limit"]["low"], row["limit"]["high"])
        assert row["verdict"] == limit.verdict(row["ratio"])
        assert row["ratio"] == pytest.approx(np.median(row["figures"]))
        assert row["rounds"] == len(row["figures"])
        assert f"│ {row['name']} " in done.stdout
        assert f"{row['name']}: " in done.stderr
    assert rows["gptq-1024"]["rounds"] == 2
    assert set(rows["gptq-1024"]["seconds"]) == {"gptq", "potrf", "trtri", "sgemm"}
    assert rows["gptq-1024"]["sizes"] == {"n_out": 128, "n_in": 128}
    assert len(rows["growth-n_in"]["series"]["sizes"]) >= 4
    assert rows["import-without-scipy"]["verdict"] == "met"

    from matplotlib.image import imread

    pixels = imread(picture)
    assert min(pixels.shape[:2]) > 500
    assert pixels.std() > 0.01
    assert sorted(path.name for path in tmp_path.iterdir()) == ["speed.json", "speed.png"]


@pytest.mark.everything
def test_a_picture_as_svg(tmp_path: Path, capsys: Output) -> None:
    picture = tmp_path / "speed.SVG"
    assert main(["--quick", "--only", *FAST[1:], "--plot", str(picture)]) == 0
    assert ET.parse(picture).getroot().tag.endswith("svg")
    assert "an eighth of every size" in capsys.readouterr().out


def test_the_list(capsys: Output) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [row.name for row in all_rows()]


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_fits_its_terminal(width: int, capsys: Output) -> None:
    rows = all_rows()
    run = Run(Settings())
    run.outcomes = [Outcome(row, Measured([1.0, 2.0], {}, {})) for row in rows[1:]]
    run.outcomes.append(Outcome(rows[0], None, "no such thing"))
    show(run, width)
    out = capsys.readouterr().out
    table = [line for line in out.splitlines() if line[:1] in "┏┃┡│└"]
    assert {len(line) for line in table} <= set(range(width + 1))
    for row in rows:
        assert f"│ {row.name} " in out
    assert "no such thing" in out
    assert ("quartiles" in out) == (width == 200)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--only", "gptq-1042"], "no row 'gptq-1042'; near: gptq-1024"),
        (["--only", "import-time", "zzz-*"], "no row 'zzz-*'; see --list"),
        (["--plot", "speed.pdf"], "expected a file .png or .svg, got speed.pdf"),
        (["--json", "nowhere/speed.json"], "nowhere/speed.json: no folder nowhere"),
        (["--json", "."], "is a folder"),
    ],
)
def test_usage(arguments: list[str], complaint: str, capsys: Output) -> None:
    assert main(["--quick", *arguments]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert not captured.out


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--peer-seconds", "-1"], ["--only"]])
def test_usage_of_the_parser(arguments: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments])
    assert caught.value.code == 2
    assert "usage: python -m tests.benchmarks.speed" in capsys.readouterr().err


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have these packages look as if they were not installed."""
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name in names else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)


@pytest.mark.parametrize("name", ["threadpoolctl", "rich", "matplotlib"])
def test_a_missing_extra_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    hide(monkeypatch, name)
    assert main(["--plot", str(tmp_path / "speed.png")]) == 2
    assert f'{name} not installed: pip install --editable ".[dev]"' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_missing_peers_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    hide(monkeypatch, "keras", "torch")
    report = tmp_path / "speed.json"
    only = ["--only", "keras-gptq-1024", "--only", "torch-gptq-1024"]  # one adds to the other
    assert main(["--quick", *only, "--json", str(report)]) == 0
    found = json.loads(report.read_text("utf-8"))
    assert found["peers_left_out"] == {"keras": "not installed", "torch": "not installed"}
    assert {row["verdict"] for row in found["rows"]} == {"not available"}
    out = capsys.readouterr().out
    assert "left out: keras: not installed" in out
    assert "left out: torch: not installed" in out


def test_missing_backends_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "jax", "openvino")
    there, left_out = peers.keras_backends()
    assert not {"jax", "numpy", "openvino"} & set(there), "Keras's NumPy backend calls JAX"
    assert left_out["keras:jax"] == left_out["keras:openvino"] == "not installed"


INTERRUPTIBLE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from tests.benchmarks.speed.command import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.mark.everything
def test_interrupted_it_shows_what_was_done(tmp_path: Path) -> None:
    report, picture = tmp_path / "speed.json", tmp_path / "speed.png"
    rows = ["import-without-scipy", "growth-n_in"]
    arguments = ["--quick", "--rounds", "1000000", "--only", *rows]
    command = [sys.executable, "-c", INTERRUPTIBLE]
    with subprocess.Popen(
        [*command, *arguments, "--json", report, "--plot", picture],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "import-without-scipy" in process.stderr.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "│ import-without-scipy " in out
    assert "interrupted; not run: growth-n_in" in out
    found = json.loads(report.read_text("utf-8"))
    assert (found["interrupted"], found["not_run"]) == (True, ["growth-n_in"])
    assert [row["name"] for row in found["rows"]] == ["import-without-scipy"]
    assert picture.stat().st_size > 1000


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    path.write_text("before", "utf-8")

    def half(beside: Path) -> None:
        beside.write_text("hal", "utf-8")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        write_whole(path, half)
    assert path.read_text("utf-8") == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["speed.json"]


# Peers


def test_a_peer_that_ends_is_quoted() -> None:
    with (
        pytest.raises(peers.PeerError, match=r"ended: KeyError: 'nonsense'"),
        peers.peer("nonsense", {}, 60.0),
    ):
        pass


def test_a_peer_that_takes_too_long_is_ended() -> None:
    sizes = {"n_out": 32, "n_in": 32}
    with (
        pytest.raises(peers.PeerError, match=r"took longer than 0.001 s"),
        peers.peer("torch_gptq", sizes, 0.001),
    ):
        pass


@pytest.mark.everything
def test_torch_is_timed_in_its_own_process(capsys: Output, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    report = tmp_path / "speed.json"
    arguments = ["--only", "torch-gptq-1024", "--rounds", "2", "--json", str(report)]
    assert main(["--quick", *arguments]) == 0
    (row,) = json.loads(report.read_text("utf-8"))["rows"]
    assert row["rounds"] == 2
    assert row["seconds"]["torch"] > 0


@pytest.mark.everything
@pytest.mark.parametrize("name", ["keras-gptq-1024", "keras-absmax-axis-0"])
def test_keras_is_timed_in_its_own_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "KERAS_BACKENDS", {"torch": "torch", "cuneiform": "no_such_module"})
    (row,) = chosen_rows([name])
    got = measure(row, Settings(quick=True, rounds=1))
    assert got.measured is not None, (got.reason, got.left_out)
    assert got.measured.left_out == {"keras:cuneiform": "not installed"}
    assert got.measured.seconds["keras:torch"] > 0
    assert got.ratio == pytest.approx(
        got.measured.seconds.pop("keras:torch") / next(iter(got.measured.seconds.values()))
    )


@pytest.mark.parametrize("group_size", [128, 256])
def test_the_torch_contestant_does_the_same_work(group_size: int) -> None:
    """Its answer passes the certificate, and is ours but for ties of rounding."""
    torch = pytest.importorskip("torch")
    from tests.benchmarks.speed.torch_gptq import quantize

    from quantref.config import GPTQConfig

    W, H = problems.weights(48, 320), problems.hessian(320)
    config = GPTQConfig(None, None, weight_bits=4, group_size=group_size)
    codes, scale, zero = quantize(
        torch.from_numpy(W), torch.from_numpy(H).float(), group_size=group_size
    )
    ours = gptq_quantize(W, H, config, dtype=np.float32)
    g_idx = group_index(320, group_size)
    answer = GPTQResult(
        codes.numpy(), scale.numpy(), zero.numpy().astype(np.uint8), g_idx, ours.order, config
    )
    assert (answer.codes == ours.codes).mean() > 0.9
    np.testing.assert_allclose(answer.scale[:, 0], ours.scale[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(W, problems.weights(48, 320))
    assert certify(W, H, answer, config).passed
