"""What runs in a peer's process: import, warm up, then time one call for every line on stdin.

    python -m tests.benchmarks.speed.peer_programs PROGRAM ARGUMENTS-AS-JSON

Frameworks are imported here and nowhere else in the package.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from tests.benchmarks.speed import problems
from tests.benchmarks.speed.timing import contestant

from quantref.inputs import Axis

WARM_UP = 32

Program = Callable[..., Callable[[], float]]


def keras_gptq(n_out: int, n_in: int) -> Callable[[], float]:
    """Time `GPTQ.quantize_and_correct_layer` of Keras, layer and Hessian given."""
    import keras
    from keras.src.quantizers.gptq import GPTQ

    config = keras.quantizers.GPTQConfig(
        dataset=None, tokenizer=None, weight_bits=4, group_size=128, hessian_damping=0.01
    )

    def of_size(rows: int, columns: int) -> Callable[[], float]:
        kernel = problems.weights(rows, columns).T.copy()
        h = problems.hessian(columns)

        def prepare() -> tuple[Any, Any]:
            layer = keras.layers.Dense(rows, use_bias=False)
            layer.build((None, columns))
            layer.kernel.assign(kernel)
            layer.quantize("gptq", config=config)
            quantizer = GPTQ(layer, config)
            quantizer.hessian = keras.ops.convert_to_tensor(h.astype("float32"))
            return layer, quantizer

        def quantize(layer: Any, quantizer: Any) -> Any:
            quantizer.quantize_and_correct_layer()
            return keras.ops.convert_to_numpy(layer.quantized_kernel)

        return contestant("keras", quantize, prepare).run

    of_size(WARM_UP, WARM_UP)()
    return of_size(n_out, n_in)


def keras_abs_max(n: int, axis: Axis) -> Callable[[], float]:
    """Time `keras.quantizers.abs_max_quantize` on a tensor, result left with the backend."""
    import keras

    lazy = keras.backend.backend() == "openvino"  # computes when a value is asked for

    def of_size(size: int) -> Callable[[], float]:
        x = keras.ops.convert_to_tensor(problems.weights(size, size))

        def quantize() -> Any:
            codes, scale = keras.quantizers.abs_max_quantize(x, axis, to_numpy=False)
            if lazy:
                return keras.ops.convert_to_numpy(codes), scale
            # JAX returns before it is done, and can be waited for.
            getattr(codes, "block_until_ready", lambda: None)()
            return codes, scale

        return contestant("keras", quantize).run

    of_size(WARM_UP)()
    return of_size(n)


def torch_gptq(n_out: int, n_in: int) -> Callable[[], float]:
    """Time GPTQ in plain torch."""
    import torch
    from tests.benchmarks.speed.torch_gptq import quantize

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

    def of_size(rows: int, columns: int) -> Callable[[], float]:
        W = torch.from_numpy(problems.weights(rows, columns))
        H = torch.from_numpy(problems.hessian(columns)).float()
        return contestant("torch", lambda: quantize(W, H)).run

    of_size(WARM_UP, WARM_UP)()
    return of_size(n_out, n_in)


PROGRAMS: dict[str, Program] = {
    "keras_gptq": keras_gptq,
    "keras_abs_max": keras_abs_max,
    "torch_gptq": torch_gptq,
}


def main(arguments: list[str]) -> None:
    """Answer every line on stdin with the seconds of one more call."""
    program, text = arguments
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what frameworks print is no answer

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    run = PROGRAMS[program](**json.loads(text))
    say({"ready": True})
    for _ in sys.stdin:
        say({"seconds": run()})


if __name__ == "__main__":
    main(sys.argv[1:])
