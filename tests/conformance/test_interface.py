"""The documented interface, crossed: complete, true of the installed Keras and of the cases."""

from __future__ import annotations

import ast
import html
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantcheck.errors import CorpusError
from quantcheck.interface import axes, command
from quantcheck.interface import rules as rules_of
from quantcheck.interface.asked import given_by
from quantcheck.interface.kinds import LEFT_OUT
from quantcheck.interface.page import as_html
from quantcheck.interface.rules import GAPS, RULES, Cell, Row, Rule
from quantcheck.interface.signatures import DOCUMENTED, REQUIRED, SIGNATURES, Signature
from quantcheck.interface.summary import LETTER_OF, MARKS, Summary, summary_of, to_json
from quantcheck.interface.table import OUTCOMES, Outcome, Table, cells_of
from quantcheck.properties import load
from quantcheck.properties.kernels import KERNELS
from quantcheck.spec.places import directory
from quantcheck.wire.cases import Case, load_all

# The signatures of the page "Quantizer classes" of the Keras documentation, word by word.
PAGE = """
Quantizer(output_dtype="int8")
AbsMaxQuantizer(
    axis=None, value_range=(-127, 127), epsilon=1e-07, output_dtype="int8"
)
QuantizationConfig(weight_quantizer=None, activation_quantizer=None)
Int8QuantizationConfig(
    weight_quantizer=None, activation_quantizer="default"
)
GPTQConfig(
    dataset,
    tokenizer,
    weight_bits: int = 4,
    num_samples: int = 128,
    per_channel: bool = True,
    sequence_length: int = 512,
    hessian_damping: float = 0.01,
    group_size: int = 128,
    symmetric: bool = False,
    activation_order: bool = False,
    quantization_layer_structure: dict = None,
)
"""
BY_NAME = {signature.name: signature for signature in SIGNATURES}
Arguments = list[tuple[str, Any]]


def documented() -> dict[str, Arguments]:
    """Return arguments and defaults of each class of the page."""
    found = {}
    for name, arguments in re.findall(r"^(\w+)\((.*?)\)$", PAGE, re.MULTILINE | re.DOTALL):
        (function,) = ast.parse(f"def {name}({arguments}): ...").body
        assert isinstance(function, ast.FunctionDef)
        names = [each.arg for each in function.args.args]
        defaults = [ast.literal_eval(each) for each in function.args.defaults]
        missing = [REQUIRED] * (len(names) - len(defaults))
        found[name] = list(zip(names, [*missing, *defaults], strict=True))
    return found


def arguments_of(signature: Signature) -> Arguments:
    return [(each.name, each.default) for each in signature.arguments]


def installed(function: Callable[..., Any]) -> Arguments:
    """Return arguments and defaults of a function of the installed Keras."""
    return [
        (name, REQUIRED if each.default is inspect.Parameter.empty else each.default)
        for name, each in inspect.signature(function).parameters.items()
        if name != "self"
    ]


def test_the_documented_classes_are_those_of_the_page() -> None:
    page = documented()
    assert set(page) == set(DOCUMENTED)
    for name, arguments in page.items():
        assert arguments_of(BY_NAME[name]) == arguments, name


def test_all_of_the_installed_keras_has_a_signature() -> None:
    import keras

    names = [name for name in dir(keras.quantizers) if not name.startswith("_")]
    public = {name for name in names if callable(getattr(keras.quantizers, name))}
    assert public
    methods = {name for name in BY_NAME if "." in name}
    assert public == set(BY_NAME) - methods
    for name in public:
        assert arguments_of(BY_NAME[name]) == installed(getattr(keras.quantizers, name)), name
    owners = {"Layer": keras.layers.Dense, "Model": keras.Model}
    for name in methods:
        owner, _, method = name.partition(".")
        function = getattr(owners.get(owner) or getattr(keras.quantizers, owner), method)
        assert arguments_of(BY_NAME[name]) == installed(function), name


def test_every_layer_has_one_signature_of_quantize() -> None:
    import keras

    for name in ("Dense", "EinsumDense", "Embedding", "ReversibleEmbedding"):
        function = getattr(keras.layers, name).quantize
        assert installed(function) == arguments_of(BY_NAME["Layer.quantize"]), name


# The table


@pytest.fixture(scope="module")
def golden() -> dict[str, Case]:
    return {case.id: case for case in load_all()}


@pytest.fixture(scope="module")
def table() -> Table:
    return command.table()


@pytest.fixture(scope="module")
def summary(table: Table) -> Summary:
    return summary_of(table)


@pytest.fixture(scope="module")
def covered(summary: Summary) -> list[tuple[Cell, Outcome]]:
    return [each for row in summary.rows for each in row.covered]


def test_every_argument_has_a_row_for_each_kind_and_operation(table: Table) -> None:
    keys = Counter(row.key for row in table.rows)
    wanted = {
        (signature.name, argument.name, kind.name, operation)
        for signature in SIGNATURES
        for argument in signature.arguments
        for kind in argument.kinds
        for operation in argument.reaches
    }
    assert set(keys) == wanted
    assert set(keys.values()) == {1}
    for signature in SIGNATURES:
        for argument in signature.arguments:
            assert argument.kinds, argument.name
            assert argument.reaches, argument.name
            assert set(argument.reaches) <= set(axes.OPERATIONS)
            has_default = argument.default is not REQUIRED or argument.name == "kwargs"
            assert has_default == (argument.kinds[0].name == "left out"), argument.name


def test_every_row_has_every_policy_layer_and_use(table: Table) -> None:
    number = len(axes.LAYERS) * len(axes.POLICIES) * len(axes.USES)
    cells = [(c.layer, c.policy, c.use) for c in cells_of(table.rows[0])]
    assert len(cells) == len(set(cells)) == number


def test_properties_ask_every_kernel_of_the_axes() -> None:
    """Every rank and every set of contracted axes, in the same names."""
    assert [axes.einsum_of(kernel.equation) for kernel in KERNELS] == list(axes.EINSUMS)


@pytest.mark.everything
def test_every_cell_has_exactly_one_outcome(
    table: Table, summary: Summary, golden: dict[str, Case]
) -> None:
    ids = {"case": set(golden), "property": set(load())}
    outcomes = {LETTER_OF[reason]: reason for reason in LETTER_OF}
    for row in summary.rows:
        words = [word for each in row.letters.values() for word in each]
        letters = Counter("".join(words))
        assert letters.total() == len(axes.LAYERS) * len(axes.POLICIES) * len(axes.USES)
        for letter in letters:
            assert letter in MARKS.values() or outcomes[letter].strip()
        assert letters["C"] + letters["P"] == len(row.covered)
        for cell, outcome in row.covered:
            assert outcome == table.outcome(cell)
            assert outcome.by
            assert set(outcome.by) <= ids[outcome.kind]
    assert set(summary.total) == set(OUTCOMES)


@pytest.mark.parametrize(
    "fields", [{}, {"by": ("a",), "reason": "b"}, {"kind": "perhaps", "reason": "b"}]
)
def test_an_outcome_has_ids_or_a_reason(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ids or a reason"):
        Outcome(**{"kind": "case", **fields})


@pytest.mark.everything
def test_reasons_are_sentences_that_apply(summary: Summary) -> None:
    for each in (*RULES, *GAPS):
        assert re.fullmatch(r"[A-Z].*\.", each.reason), each.reason
        assert summary.reasons[each.reason], f"no cell: {each.reason}"
    assert all(gap.reason.startswith("Not asked: ") for gap in GAPS)
    assert len({each.reason for each in (*RULES, *GAPS)}) == len(RULES) + len(GAPS)


def test_reasons_are_true_of_what_is_asked(
    table: Table, covered: list[tuple[Cell, Outcome]]
) -> None:
    """What a gap says that no question asks, none asks; the last gap says that of no cell alone."""
    for cell, _ in covered:
        assert rules_of.ruled_out(cell) is None
        assert rules_of.gap_of(cell, table.covered) is GAPS[-1], cell.row.key


def test_a_case_in_a_cell_that_a_rule_excludes_is_an_error(
    golden: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = golden["cfg-gptq-default"]
    Table([case], {})
    monkeypatch.setattr(rules_of, "RULES", [*RULES, Rule("Never.", lambda _: True)])
    with pytest.raises(CorpusError, match="Never"):
        Table([case], {})


# Cases against the cells that they cover, read from the files without the package

NAMES = {"dtype": "output_dtype", "weight_bits": "bits", "hessian_damping": "damping"}
ELSEWHERE = {"AbsMaxQuantizer.__call__": {"axis": "call_axis"}}
OF_ARRAYS = ("inputs", "x", "arr", "packed", "orig_len", "dataset", "tokenizer")


def descriptions(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every {"class", "arguments"} in a value."""
    if isinstance(value, dict):
        if "class" in value and "arguments" in value:
            yield value
        for each in value.values():
            yield from descriptions(each)


def values_in(question: dict[str, Any], row: Row) -> list[Any]:
    """Return the values that a question gives to an argument of a class or a function."""
    name, parameters = row.argument.name, question["parameters"]
    if name == "quantization_layer_structure" and "calibrated_with" in parameters:
        made = {"given": ["block"], "null": None, "left out": LEFT_OUT}
        return [made[parameters["calibrated_with"]["structure"]]]
    of_class = [
        d["arguments"] for d in descriptions(parameters) if d["class"] == row.signature.name
    ]
    if row.signature.name == "AbsMaxQuantizer" and question["operation"] == "abs_max_quantizer":
        of_class = [parameters["arguments"]]
    if of_class:
        return [arguments.get(name, LEFT_OUT) for arguments in of_class]
    other = ELSEWHERE.get(row.signature.name, NAMES).get(name, name)
    if other == "quantization_layer_structure":
        other = "blocks"
    return [parameters.get(other, LEFT_OUT)]


def test_a_case_gives_the_value_of_its_cells(covered: list[tuple[Cell, Outcome]]) -> None:
    questions = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in directory().glob("*/*.json")
    }
    checked = Counter[str]()
    for cell, outcome in covered:
        row = cell.row
        by_hand = row.argument.name in OF_ARRAYS or row.signature.name.endswith(".quantize")
        special = row.kind.name.startswith("axes that") or row.signature.name.endswith("pack_int4")
        special |= row.signature.name in ("get", "serialize", "deserialize")
        if outcome.kind != "case" or by_hand or special:
            continue
        for name in outcome.by:
            question = questions[name]
            assert row.kind.refused == ("refused" in question["expected"]), (name, row.key)
            values = values_in(question, row)
            assert any(row.kind.holds(value) for value in values), (name, row.key, values)
            checked[row.signature.name] += 1
    assert set(checked) == {
        "Quantizer", "AbsMaxQuantizer", "AbsMaxQuantizer.__call__", "Int8QuantizationConfig",
        "Int4QuantizationConfig", "GPTQConfig", "abs_max_quantize",
        "abs_max_quantize_grouped_with_zero_point",
    }  # fmt: skip


def test_a_case_has_the_layer_and_the_use_of_its_cells(
    covered: list[tuple[Cell, Outcome]], golden: dict[str, Case]
) -> None:
    """The layer is in the name of the operation; only a case with `reload` is saved."""
    for cell, outcome in covered:
        for case in (golden[name] for name in outcome.by if outcome.kind == "case"):
            if not cell.with_layers:
                assert not case.operation.startswith(("dense", "einsum", "quantize_model"))
            elif cell.row.operation == "model":
                assert case.operation.startswith("quantize_model_") or "place" in case.parameters
            else:
                kind = axes.family(cell.layer).partition(",")[0].lower()
                assert case.operation.replace("_", "").startswith(kind)
            if cell.use == axes.SAVED:
                assert case.parameters["reload"]
            if cell.layer.startswith("EinsumDense, kernel"):
                kernel = case.parameters["equation"].partition(",")[2].partition("->")[0]
                assert f"rank {len(kernel)}," in cell.layer


def test_kinds_of_one_argument_exclude_each_other(golden: dict[str, Case], table: Table) -> None:
    """Every value of a good case has exactly one kind; so no case can cover another kind's cell."""
    kinds = {(row.signature.name, row.argument.name): row.argument.kinds for row in table.rows}
    seen = 0
    for case in golden.values():
        for given in given_by(case):
            fitting = [
                kind
                for kind in kinds[given.signature, given.argument]
                if not kind.refused and kind.holds(given.value)
            ]
            assert len(fitting) == 1 or (not fitting and "refused" in case.expected), (
                case.id, given,
            )  # fmt: skip
            seen += 1
    assert seen


def test_a_case_with_another_value_leaves_the_cell(golden: dict[str, Case]) -> None:
    case = golden["cfg-gptq-full"]
    arguments = case.parameters["arguments"]
    table = Table([case], {})

    def kinds(of: Case) -> set[str]:
        return {
            c.row.kind.name for c in table.covered_by(of) if c.row.argument.name == "weight_bits"
        }

    changed = {**case.parameters, "arguments": {**arguments, "weight_bits": 8}}
    left_out = {k: v for k, v in arguments.items() if k != "weight_bits"}
    without = {**case.parameters, "arguments": left_out}
    assert kinds(case) == {str(arguments["weight_bits"])} != {"8"}
    assert kinds(replace(case, parameters=changed)) == {"8"}
    assert kinds(replace(case, parameters=without)) == {"left out"}
    refused = replace(case, expected={"refused": "ConfigError"})
    assert not kinds(refused)


# The command, the JSON and the page


@pytest.fixture
def ready(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "summary", lambda: summary)


@pytest.mark.usefixtures("ready")
def test_the_command_prints_one_screen_and_writes_both_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], summary: Summary
) -> None:
    page, data = tmp_path / "interface.html", tmp_path / "interface.json"
    assert command.main(["--html", str(page), "--json", str(data)]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) <= 50
    for name in DOCUMENTED:
        assert name in printed
    for kind in OUTCOMES:
        assert f"{summary.total[kind]:,}" in printed
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    made = json.loads(data.read_text(encoding="utf-8"))
    assert made["counts"] == dict(summary.total)


def test_a_file_that_cannot_be_written_is_refused_first(quantcheck: Any, tmp_path: Path) -> None:
    done = quantcheck("interface", "--html", str(tmp_path / "missing" / "page.html"))
    assert done.returncode == 2
    assert "existing directory" in done.stderr


def test_the_counts_of_the_json_add_up(summary: Summary) -> None:
    made = to_json(summary)
    total = Counter(made["counts"])
    for name in ("signatures", "operations", "layers", "policies", "uses"):
        counts = sum((Counter(each) for each in made[f"by_{name}"].values()), Counter[str]())
        assert counts == total, name
    rows = sum((Counter(row["counts"]) for row in made["rows"]), Counter[str]())
    assert rows == total
    letters = Counter(
        letter
        for row in made["rows"]
        for words in row["cells"].values()
        for word in words
        for letter in word
    )
    for each in made["reasons"]:
        assert letters[each["letter"]] == each["cells"]
    assert letters["C"] == total["case"]
    assert letters["P"] == total["property"]
    assert letters.total() == total.total()


def test_the_page_needs_nothing_else_and_names_every_row(summary: Summary) -> None:
    page = as_html(summary)
    assert "script-src 'none'" in html.unescape(page)
    assert not re.search(r"<script|<link|<img|https?:", page)
    assert page.count("<details>") == len(summary.rows)
    for kind in OUTCOMES:
        assert f"{summary.total[kind]:,}" in page
    for each in (*RULES, *GAPS):
        assert html.escape(each.reason) in page
