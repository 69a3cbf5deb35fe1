"""Train an MLP on scikit-learn's handwritten digits: `python train.py`, scikit-learn installed.

Writes digits.npz beside it: pixels (1797, 64) of 0 … 16, labels, and kernels and biases of three
Dense layers, 64 → 64 → 32 → 10, ReLU between them, for pixels / 16. The first 1200 were trained on.
The digits are those of the UCI repository's "Optical Recognition of Handwritten Digits" (E.
Alpaydin, C. Kaynak, 1998; CC BY 4.0), its test set, as `sklearn.datasets.load_digits` gives them.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

WIDTHS = (64, 32)
TRAINED = 1200


def main() -> None:
    """Train, and write the file."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    data = load_digits()
    x = (data.data / 16).astype(np.float32)
    mlp = MLPClassifier(WIDTHS, max_iter=60, tol=0.0, n_iter_no_change=60, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it could be trained longer
        mlp.fit(x[:TRAINED], data.target[:TRAINED])
    layers: dict[str, Any] = {}
    for k, (kernel, bias) in enumerate(zip(mlp.coefs_, mlp.intercepts_, strict=True)):
        layers |= {f"kernel_{k}": kernel.astype(np.float32), f"bias_{k}": bias.astype(np.float32)}
    np.savez_compressed(
        Path(__file__).with_name("digits.npz"),
        pixels=data.data.astype(np.uint8),
        labels=data.target.astype(np.uint8),
        **layers,
    )
    right = mlp.score(x[TRAINED:], data.target[TRAINED:])
    sys.stdout.write(f"right of those not trained on: {right:.3f}\n")


if __name__ == "__main__":
    main()
