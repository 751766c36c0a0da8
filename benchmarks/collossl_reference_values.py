"""Numbers that the public ColloSSL code computes, for the tests to compare ours with.

    python benchmarks/collossl_reference_values.py CHECKOUT [--environment FOLDER] [--out tests/fixtures/…]

CHECKOUT is a local clone of https://github.com/akhilmathurs/collossl. Its loss, its distances and its encoder run
unmodified in a TensorFlow environment (`collossl_public.py`); only numbers are kept. Inputs and weights come from
NumPy's frozen `RandomState` stream, so the tests make the same ones without the public code. Needs git.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

DEFAULT_OUT = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "collossl_reference.json"
POSITIVES, NEGATIVES = (1, 2), (1, 2, 3, 4, 5, 6)
N_WINDOWS, WIDTH, TEMPERATURE = 12, 16, 0.05
N_DEVICES, N_COMPARED, N_TIMES, N_CHANS = 4, 40, 150, 6
LAYERS = ((32, N_CHANS, 24), (64, 32, 16), (96, 64, 8))
SEEDS = {"latents": 4000, "weights": 4100, "windows": 4200, "encoder": 4300, "projections": 4400}


def main() -> None:
    """Run the public code and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument(
        "--environment", type=Path, help="folder of the TensorFlow environment; a temporary one if none"
    )
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    args = parser.parse_args()
    from collossl_public import environment, run

    command = ["git", "-C", str(args.checkout), "rev-parse", "HEAD"]
    commit = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        values = run(environment(args.environment or Path(folder)), "values", str(args.checkout))
    values["source"] = {"repository": "https://github.com/akhilmathurs/collossl", "commit": commit} | values["source"]
    args.out.write_text(json.dumps(values, indent=1) + "\n")


def draws(seed: int, *shape: int) -> np.ndarray:
    """Standard normal float64 draws that are the same in every NumPy version."""
    return np.asarray(np.random.RandomState(seed).standard_normal(shape))


def fingerprint(values: np.ndarray) -> list[float]:
    """Norm and three random projections: equal ones mean equal arrays, up to chance."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    directions = draws(SEEDS["projections"], 3, len(flat))
    return [float(np.linalg.norm(flat)), *(directions @ flat / len(flat) ** 0.5).tolist()]


def latents(n_positives: int, n_negatives: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Anchor (B, D), positives (P, B, D) and negatives (N, B, D), of which the first are partly alike."""
    seed = SEEDS["latents"] + 10 * n_positives + n_negatives
    drawn = draws(seed, 1 + n_positives + n_negatives, N_WINDOWS, WIDTH)
    return drawn[0], drawn[0] + drawn[1 : 1 + n_positives], drawn[1 + n_positives :]


def weights(n_positives: int, n_negatives: int) -> tuple[np.ndarray, np.ndarray]:
    """A weight between 0.2 and 1 for every device."""
    drawn = 0.2 + 0.8 * np.random.RandomState(SEEDS["weights"]).uniform(size=n_positives + n_negatives)
    return drawn[:n_positives], drawn[n_positives:]


def windows(n_windows: int = N_COMPARED) -> np.ndarray:
    """Windows (V, B, T, 6) of devices that resemble the first less and less; the third more than the second."""
    shared, own = (
        draws(SEEDS["windows"], n_windows, N_TIMES, N_CHANS),
        draws(SEEDS["windows"] + 1, N_DEVICES, n_windows, N_TIMES, N_CHANS),
    )
    gain = np.array([1.0, 0.6, 0.8, 0.3]).reshape(-1, 1, 1, 1)
    return (gain * shared + 0.5 * own) / 10 + 0.3


def encoder_weights() -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernels (D, C, K) and biases of the three convolutions."""
    seed = SEEDS["encoder"]
    return [
        (draws(seed + 2 * i, *shape) / (shape[1] * shape[2]) ** 0.5, draws(seed + 2 * i + 1, shape[0]) / 10)
        for i, shape in enumerate(LAYERS)
    ]


def public_values(public: Any) -> dict[str, Any]:
    """The numbers, by the public modules; called in the TensorFlow environment."""
    import tensorflow as tf  # type: ignore[import-not-found]

    return {
        "source": {"tensorflow": tf.__version__, "numpy": np.__version__},
        "loss": {f"{p} {n}": loss(public, p, n) for p in POSITIVES for n in NEGATIVES},
        "mmd": mmd(public),
        "encoder": encoder(public),
    }


def loss(public: Any, n_positives: int, n_negatives: int) -> dict[str, Any]:
    """Its weighted loss of `latents`, in float64, and the gradients."""
    import tensorflow as tf

    given = [tf.constant(one) for one in latents(n_positives, n_negatives)]
    anchor, positives, negatives = given
    w_p, w_n = (np.repeat(w[:, None], N_WINDOWS, axis=1) for w in weights(n_positives, n_negatives))
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = public.loss.weighted_group_contrastive_loss_with_temp(
            anchor, positives, w_p, negatives, w_n, temperature=TEMPERATURE
        )
    gradients = tape.gradient(value, given)
    return {
        "loss": float(value),
        "dtype": value.dtype.name,
        "gradients": [fingerprint(gradient.numpy()) for gradient in gradients],
    }


def mmd(public: Any) -> dict[str, Any]:
    """Distances from the first device to the others, and the devices chosen by them (its code is in float32)."""
    import tensorflow as tf

    x = tf.constant(windows().astype(np.float32))
    positives, negatives, distances = public.selection.get_pos_neg(x, 0, strategy="closest_pos_all_neg")
    return {
        "distances": [float(distances[device]) for device in range(1, N_DEVICES)],
        "positives": [int(device) for device in positives],
        "negatives": [int(device) for device in negatives],
    }


def encoder(public: Any) -> list[float]:
    """What its encoder, in float32 and without dropout, says of a few windows of the first device."""
    model, _ = public.models.create_base_model((N_TIMES, N_CHANS))
    model.set_weights([part for kernel, bias in encoder_weights() for part in (kernel.transpose(2, 1, 0), bias)])
    return fingerprint(model(windows(4)[0].astype(np.float32), training=False).numpy())


if __name__ == "__main__":
    main()
