"""The questions that each process of one target gets, and their order."""

from __future__ import annotations

from typing import Any

from quantcheck.run.pool import COSTLY, Pool, cost
from quantcheck.targets.process import ProcessTarget

# Answers with how many questions it had before, and who it is.
COUNTING = """
import os, time
for number, q in enumerate(questions()):
    time.sleep(0.02)
    send({"id": q["id"], "outputs": {"number": number, "process": os.getpid()}})
"""


def question(identity: str, *shape: int, operation: str = "pack") -> dict[str, Any]:
    value = {"dtype": "float32", "shape": list(shape)}
    return {"id": identity, "operation": operation, "parameters": {}, "inputs": {"x": value}}


def asked(targets: list[ProcessTarget], questions: list[dict[str, Any]]) -> dict[str, Any]:
    for target in targets:
        target.start()
    pool = Pool(targets)
    try:
        pool.submit(questions)
        return {q["id"]: pool.reply(q["id"], dict).answer["outputs"] for q in questions}
    finally:
        pool.close()


def test_costly_questions_come_first_and_the_others_in_their_order(script: Any) -> None:
    small = [question(f"small-{k}", 3, 5 + k) for k in range(4)]
    costly = question("model", 3, 1000, operation="quantize_model_gptq")
    costlier = question("wide", 3, 1_000_000)
    assert cost(small[-1]) < COSTLY <= cost(costly) == cost(costlier)
    costlier["inputs"]["y"] = 1
    target = ProcessTarget("process:test", script(COUNTING))
    told = asked([target], [small[0], costly, *small[1:], costlier])
    order = sorted(told, key=lambda identity: told[identity]["number"])
    assert order == ["wide", "model", "small-0", "small-1", "small-2", "small-3"]


def test_a_shape_belongs_to_one_process(script: Any) -> None:
    questions = [question(f"{n}-{k}", 4, n) for k in range(10) for n in (7, 8)]
    targets = [ProcessTarget("process:test", script(COUNTING)) for _ in range(2)]
    told = asked(targets, questions)
    # Whoever is done helps the other with the last ones.
    seven, eight = ({told[f"{n}-{k}"]["process"] for k in range(5)} for n in (7, 8))
    assert len(seven) == len(eight) == 1
    assert seven != eight


def test_a_question_is_asked_once(script: Any) -> None:
    target = ProcessTarget("process:test", script(COUNTING))
    target.start()
    pool = Pool([target])
    try:
        pool.submit([question("a", 1), question("a", 1), question("b", 1)])
        assert pool.reply("b", dict).answer["outputs"]["number"] == 1
        assert pool.reply("a", dict).answer["outputs"]["number"] == 0
        assert pool.ask(question("a", 1)).answer["outputs"]["number"] == 2
    finally:
        pool.close()


def test_a_question_is_asked_again_in_another_process(script: Any) -> None:
    pool = Pool([ProcessTarget("process:test", script(COUNTING)) for _ in range(2)])
    questions = [question(f"{k}", k) for k in range(6)]
    again: dict[str, Any] = {}
    try:
        pool.submit(questions, lambda q, _: again.update({q["id"]: pool.again(q)}))
        for q in questions:
            first = pool.reply(q["id"], dict).answer["outputs"]["process"]
            assert again[q["id"]].result().answer["outputs"]["process"] != first
    finally:
        pool.close()
