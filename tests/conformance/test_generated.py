"""Properties: the same draws everywhere, corners that really come, smaller examples."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantcheck import mutants, properties
from quantcheck.judge.verdict import Verdict
from quantcheck.properties import Property, Sample, Sizes, strategies
from quantcheck.run import generated
from quantcheck.run.draws import Draws, digest, draw
from quantcheck.spec import requirements
from quantcheck.spec.sections import SECTIONS
from quantcheck.targets.reference import operations
from quantcheck.wire.cases import parse

pytestmark = pytest.mark.requirement("VER-070")

PROPERTIES = properties.load()
U32 = 2.0**-24


def ids(prop: Property, draws: Draws | None = None) -> list[str]:
    return [case.id for sample in draw(prop, draws) for case in sample.cases]


def test_every_section_has_properties() -> None:
    assert Counter(p.section for p in PROPERTIES.values()).keys() == set(SECTIONS)
    assert all(identity == prop.id for identity, prop in PROPERTIES.items())


def test_requirements_exist() -> None:
    known = requirements.load()
    named = {r for prop in PROPERTIES.values() for r in prop.requirements}
    assert named <= known.keys()
    # Whatever the vectors judge by rounding, range, order or certificate, the properties judge too.
    missing = {i for i, r in known.items() if r.section in SECTIONS and i not in named} - ELSEWHERE
    assert not missing


ELSEWHERE = {
    "CFG-010",  # a base class without behaviour to draw
    "CFG-050",  # likewise, refusals of Python objects
    "ABS-110",  # refusals of dequantization: a vector
    "GPTQ-130",  # profiles are no part of the wire format
    "LAY-170",  # stored axes of layers' quantizers: vectors
    "CAL-050",  # two processes: a vector
    "CAL-160",  # refusals of whole models: vectors
    "CAL-170",  # how models are judged
}


def test_the_same_draws_in_a_process_with_other_modules(tmp_path: Path) -> None:
    """Hypothesis reads constants in imported modules, from which it would draw."""
    (tmp_path / "numbers_of_mine.py").write_text(f"NUMBERS = {list(range(-50, 50))}\n")
    code = (
        "import numbers_of_mine;"
        "from quantcheck import properties;"
        "from quantcheck.run.draws import digest, draw;"
        "print(*(digest(draw(p)) for p in properties.load(['aff']).values()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    drawn = [digest(draw(p)) for p in properties.load(["aff"]).values()]
    assert done.stdout.split() == drawn


def test_another_seed_draws_others() -> None:
    prop = PROPERTIES["prop-aff-plain"]
    assert ids(prop) == ids(prop, Draws())
    assert not set(ids(prop)[1:]) & set(ids(prop, Draws().next_draws())[1:])


LAYERS = ("prop-lay-crossed-", "prop-lay-placed-", "prop-cal-crossed-")
"""Properties whose draws are each about some of the requirements."""


def kept(prop: Property) -> Verdict:
    """The verdict of the reference: it passes, but for compiled layers, which NumPy has not."""
    compiled = prop.id.startswith(LAYERS) and prop.id.endswith("-compiled")
    return Verdict.UNSUPPORTED if compiled else Verdict.PASS


@pytest.mark.parametrize("prop", PROPERTIES.values(), ids=str)
def test_the_reference_keeps_every_property(prop: Property) -> None:
    outcomes = [generated.ask(s, operations.answer, U32) for s in draw(prop)]
    assert outcomes
    judged = generated.summary(prop, outcomes)
    about = {j.requirement for j in judged}
    if prop.id.startswith(LAYERS):
        assert prop.requirements[0] in about <= set(prop.requirements)
    else:
        assert about == set(prop.requirements)
    assert {j.verdict for j in judged} == {kept(prop)}, judged


@pytest.mark.parametrize("prop", PROPERTIES.values(), ids=str)
def test_free_shapes_as_well(prop: Property) -> None:
    draws = Draws(seed=1, free=True, factor=0.2)
    outcomes = [generated.ask(s, operations.answer, U32) for s in draw(prop, draws)]
    assert {j.verdict for o in outcomes for j in o.judgements} == {kept(prop)}


def test_draws_have_the_corners() -> None:
    """What the strategies promise really comes: counted over drawn problems."""
    found: Counter[str] = Counter()
    for name in ("prop-gptq-settings", "prop-gptq-dead", "prop-gptq-order", "prop-gptq-half"):
        for sample in draw(PROPERTIES[name], Draws(factor=3)):
            W = np.asarray(sample.cases[0].inputs["weights"]).astype(np.float64)
            diagonal = np.diagonal(sample.cases[0].inputs["hessian"])
            found["zero row"] += int((W == 0).all(axis=1).any())
            found["one sign"] += int((W > 0).all(axis=1).any())
            found["outlier"] += int((np.abs(W).max(axis=1) >= 1e6).any())
            found["dead"] += int((diagonal == 0).any())
            found["tied metric"] += int(len(set(diagonal.tolist())) < len(diagonal))
            found[f"bits {sample.cases[0].parameters['bits']}"] += 1
    wanted = {"zero row", "one sign", "outlier", "dead", "tied metric", "bits 2", "bits 3",
              "bits 4", "bits 8"}  # fmt: skip
    assert {name for name, count in found.items() if count} >= wanted


def test_conditions_reach_ten_million() -> None:
    samples = draw(PROPERTIES["prop-gptq-conditioned"], Draws(factor=6))
    numbers = [np.linalg.cond(s.cases[0].inputs["hessian"]) for s in samples]
    assert min(numbers) < 1e2
    assert max(numbers) > 1e6


def _answers(mutant: mutants.Mutant) -> Any:
    broken = mutants.load(mutant)

    def answer(question: dict[str, Any]) -> Mapping[str, Any]:
        try:
            with np.errstate(all="ignore"):
                return broken.answer(question)
        except Exception as error:  # noqa: BLE001 -- a mutant may break down: that shows it too
            return {"id": question["id"], "error": repr(error)}

    return answer


def test_a_failure_is_shrunk_to_a_vector() -> None:
    prop = PROPERTIES["prop-aff-plain"]
    answer = _answers(mutants.find("aff-zero-floor"))
    outcomes = [generated.ask(s, answer, U32) for s in draw(prop)]
    first = next(o for o in outcomes if o.failed("AFF-060"))
    smallest = generated.shrink(
        prop, "AFF-060", lambda sample: generated.ask(sample, answer, U32), known=outcomes
    )
    assert smallest is not None
    assert smallest.failed("AFF-060")
    (text,) = smallest.vectors()
    sizes = [o.sample.cases[0].inputs["weights"].size for o in (smallest, first)]
    assert sizes[0] < sizes[1]
    case = parse(text, "found")
    assert case.section == "aff"
    assert json.loads(text)["operation"] == "affine_parameters"
    # As a vector it still tells the mutant from the reference.
    again = generated.judge(smallest.sample, [answer(case.question())], U32)
    assert again.failed("AFF-060")
    fine = generated.judge(smallest.sample, [operations.answer(case.question())], U32)
    assert not fine.failed()


def test_shrinking_stops_in_time() -> None:
    prop = PROPERTIES["prop-aff-plain"]
    answer = _answers(mutants.find("aff-zero-floor"))
    outcomes = [generated.ask(s, answer, U32) for s in draw(prop)]
    asked: list[str] = []

    def counted(sample: Sample) -> generated.Outcome:
        asked.append(sample.cases[0].id)
        return generated.ask(sample, answer, U32)

    found = generated.shrink(prop, "AFF-060", counted, known=outcomes, seconds=0.0)
    assert found is not None
    assert not asked


def test_a_law_needs_all_answers() -> None:
    prop = PROPERTIES["prop-pack-inverse"]
    # Of another width a refusal breaks the choice of how that is packed.
    sample = next(s for s in draw(prop) if s.cases[0].parameters["bits"] == 4)
    good = [operations.answer(case.question()) for case in sample.cases]
    for bad, verdict in (
        ({"unsupported": "no"}, Verdict.UNSUPPORTED),
        ({"refused": "no"}, Verdict.FAIL),
        ({"error": "oh"}, Verdict.ERROR),
        ({"broken": "oh"}, Verdict.ERROR),
        ({"outputs": {}}, Verdict.ERROR),
    ):
        outcome = generated.judge(sample, [good[0], bad], U32)
        assert {j.verdict for j in outcome.judgements} == {verdict}
        assert {j.requirement for j in outcome.judgements} == set(prop.requirements)


def test_two_sided_reaches_over_zero() -> None:
    weights = strategies.two_sided(np.zeros((2, 5), np.float32))
    assert (weights[:, ::2] < 0).all()
    assert (weights[:, 1::2] > 0).all()


def test_sizes_of_the_default_profile_are_few() -> None:
    assert len(Sizes().matrices()) == 2
    assert len(Sizes(free=True).matrices()) > 20


def test_failing_examples_are_vectors_in_a_directory(quantcheck: Any, tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    done = quantcheck(
        "mutant:rnd-half-up", "--section=rnd", "--only=generated", "--found=found", "--json=r.json"
    )
    assert done.returncode == 1, done.stderr
    assert "as a vector:" in done.stdout
    made = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["reports"][0]
    texts = [text for case in made["cases"] for text in case["vectors"]]
    files = sorted((tmp_path / "found").iterdir())
    assert files
    assert {path.read_text(encoding="utf-8") for path in files} == set(texts)
    for path in files:
        case = parse(path.read_text(encoding="utf-8"), path.name)
        assert (case.id, case.section) == (path.stem, "rnd")


def test_a_fuzzing_run_draws_on(quantcheck: Any, tmp_path: Path) -> None:
    options = ("--section=rnd", "--only=generated", "--json=r.json")
    counts = []
    for more in ((), ("--fuzz=0.5", "--seed=3")):
        assert quantcheck("reference", *options, *more).returncode == 0
        made = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["reports"][0]
        counts.append(sum(case["examples"] for case in made["cases"]))
        assert made["examples"]["free"] == bool(more)
    assert counts[1] > counts[0] > 0
