"""Numbers that the public COMET code computes, for the tests to compare ours with.

    python benchmarks/reference_values.py CHECKOUT [--out tests/fixtures/comet_reference.json]

CHECKOUT is a local clone of https://github.com/DL4mHealth/COMET. Its code runs unmodified; only numbers are
kept. Inputs and weights come from NumPy's frozen `RandomState` stream (`draws`), so the tests make the same
ones without the public code. Needs git, and matplotlib and scikit-learn, which the checkout imports.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

DEFAULT_OUT = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "comet_reference.json"
PATIENT = [3, 1, 3, 1, 2, 3, 1, 2]
TRIAL = [5, 1, 5, 2, 3, 6, 1, 4]
N_PROJECTIONS = 2


def main() -> None:
    """Run the public code and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, str(args.checkout.resolve()))
    values = {
        "source": source(args.checkout),
        "step": {mask: one_step(mask) for mask in ("all_true", "mask_last")},
        "factors": two_factors(),
        "trial_order": trial_order(),
        "head": {str(n_outputs): fine_tuning_head(n_outputs) for n_outputs in (2, 3)},
        "fit": short_fit(),
    }
    args.out.write_text(json.dumps(values, indent=1) + "\n")


def source(checkout: Path) -> dict[str, str]:
    """Where the numbers come from."""
    import sklearn

    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return {
        "repository": "https://github.com/DL4mHealth/COMET",
        "commit": subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "python": platform.python_version(),
    }


def draws(seed: int, *shape: int) -> torch.Tensor:
    """Standard normal float64 draws that are the same in every NumPy version."""
    return torch.from_numpy(np.asarray(np.random.RandomState(seed).standard_normal(shape)))


def example_weights(shapes: dict[str, Iterable[int]]) -> dict[str, torch.Tensor]:
    """Weights for parameters, by name: tensor k of the sorted names is drawn with seed k.

    Matrices and kernels are scaled by one over the square root of their fan-in, vectors by a tenth.
    """
    weights = {}
    for seed, name in enumerate(sorted(shapes)):
        shape = tuple(shapes[name])
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 100
        weights[name] = draws(seed, *shape) / float(fan_in) ** 0.5
    return weights


def fingerprint(tensors: dict[str, torch.Tensor]) -> dict[str, list[float]]:
    """Norm and a few random projections of every tensor: equal ones mean equal tensors, up to chance."""
    prints = {}
    for seed, name in enumerate(sorted(tensors)):
        flat = tensors[name].detach().double().flatten()
        directions = draws(1000 + seed, N_PROJECTIONS, len(flat))
        prints[name] = [float(flat.norm()), *(directions @ flat / len(flat) ** 0.5).tolist()]
    return prints


def encoder_with_example_weights(n_chans: int, **sizes: int) -> torch.nn.Module:
    """The public encoder in float64, dropout off, with `example_weights` under our parameter names."""
    from models import TSEncoder

    encoder = TSEncoder(n_chans, **sizes).double()
    encoder.repr_dropout.p = 0.0
    set_example_weights(encoder)
    return encoder


def set_example_weights(encoder: torch.nn.Module) -> None:
    """Overwrite the weights; the sorted order of names is that of our names."""
    from biocl.encoders.dilated_cnn import comet_state_dict

    parameters = comet_state_dict(dict(encoder.named_parameters()))
    with torch.no_grad():
        for name, value in example_weights({name: p.shape for name, p in parameters.items()}).items():
            parameters[name].copy_(value)


def level_losses(z1: torch.Tensor, z2: torch.Tensor, factors: list[float]) -> dict[str, torch.Tensor]:
    """The four losses as the public `fit` calls them."""
    from models import losses

    patient, trial = torch.tensor(PATIENT), torch.tensor(TRIAL)
    call = losses.contrastive_loss
    return {
        "patient": call(z1, z2, losses.patient_contrastive_loss, id=patient, factor=factors[0]),
        "trial": call(z1, z2, losses.trial_contrastive_loss, id=trial, factor=factors[1]),
        "sample": call(z1, z2, losses.sample_contrastive_loss, hierarchical=True, factor=factors[2]),
        "observation": call(z1, z2, losses.observation_contrastive_loss, hierarchical=True, factor=factors[3]),
    }


def one_step(mask: str) -> dict[str, Any]:
    """Losses and gradients of the full-size encoder on an (8, 300, 15) batch; `mask` is the second view's."""
    from biocl.encoders.dilated_cnn import comet_state_dict

    encoder = encoder_with_example_weights(15, output_dims=320)
    x = draws(2000, 8, 300, 15)
    z1, z2 = encoder(x, mask="all_true"), encoder(x, mask=mask)
    losses = level_losses(z1, z2, [0.25] * 4)
    total = sum(losses.values())
    total.backward()
    gradients = comet_state_dict({name: p.grad for name, p in encoder.named_parameters()})
    return {
        "losses": {name: value.item() for name, value in losses.items()},
        "total": total.item(),
        "output": fingerprint({"seq": z2})["seq"],
        "gradients": fingerprint(gradients),
    }


def two_factors() -> list[dict[str, Any]]:
    """The total at two patient and trial factors, on drawn representations."""
    z1, z2 = draws(2001, 8, 12, 5), draws(2002, 8, 12, 5)
    choices = [[0.25, 0.25, 0.25, 0.25], [0.1, 0.7, 0.25, 0.25]]
    return [{"factors": f, "total": float(sum(level_losses(z1, z2, f).values()))} for f in choices]


def trial_order() -> dict[str, Any]:
    """Order of windows after the public trial shuffle, and two epochs of batches of 16."""
    import utils

    trial = np.repeat(np.arange(1, 13), [5, 5, 3, 5, 4, 5, 1, 5, 6, 2, 5, 4])
    y = np.stack([np.zeros_like(trial), (trial + 1) // 2, trial], axis=1)
    index, _ = utils.trial_shuffle_feature_label(np.arange(len(trial)), y)
    sampler = utils.MyBatchSampler(range(len(trial)), batch_size=16, drop_last=False)
    random.seed(42)
    epochs = [[index[batch].tolist() for batch in sampler] for _ in range(2)]
    return {
        "trial": trial.tolist(),
        "sort_was_stable": bool((np.argsort(trial) == np.argsort(trial, kind="stable")).all()),
        "order": index.tolist(),
        "random_seed": 42,
        "batch_size": 16,
        "epochs": epochs,
    }


def fine_tuning_head(n_outputs: int) -> dict[str, Any]:
    """Outputs and loss of the fine-tuning head, weights as `example_weights` of its `Sequential`."""
    from models import ProjectionHead

    head = ProjectionHead(6, n_outputs, hidden_dims=5).double()
    head.repr_dropout.p = 0.0
    weights = example_weights({name: p.shape for name, p in head.proj_head.named_parameters()})
    head.proj_head.load_state_dict(weights, strict=False)
    features = draws(2003, 7, 6)
    target = torch.arange(7) % n_outputs
    result: dict[str, Any] = {"dims": [6, 5, n_outputs], "target": target.tolist()}
    for mode in ("train", "eval"):
        out = head.train(mode == "train")(features)
        out = torch.sigmoid(out) if n_outputs == 2 else out  # as FTClassifier.forward does once more
        one_hot = torch.nn.functional.one_hot(target, n_outputs).double()
        loss = torch.nn.functional.cross_entropy(out, one_hot)
        result[mode] = {"outputs": out.tolist(), "loss": loss.item()}
    return result


def short_fit() -> dict[str, Any]:
    """Three steps of the public `fit` of a small encoder, masks and dropout off: losses, weights, average."""
    from comet import COMET

    from biocl.encoders.dilated_cnn import comet_state_dict

    model = COMET(2, output_dims=6, hidden_dims=4, depth=1, device="cpu", lr=1e-2, batch_size=8)
    model._net.repr_dropout.p = 0.0
    set_example_weights(model._net)
    model.net = torch.optim.swa_utils.AveragedModel(model._net)
    model.net.update_parameters(model._net)
    x = draws(2004, 8, 16, 2).numpy()
    y = np.stack([np.zeros(8), np.array(PATIENT), np.array(TRIAL)], axis=1)
    step_losses: list[float] = []
    model.after_iter_callback = lambda _, loss: step_losses.append(loss)
    random.seed(0)
    epochs, _ = model.fit(
        x, y, shuffle_function="batch", masks=["all_true"] * 4, factors=[0.25] * 4, n_epochs=4, verbose=False
    )
    import utils

    first = utils.batch_shuffle_feature_label(np.arange(8), y, 8)[0]
    random.seed(0)
    sampler = utils.MyBatchSampler(range(8), batch_size=8, drop_last=False)
    return {
        "sizes": {"n_chans": 2, "embed_dim": 6, "hidden_dim": 4, "depth": 1},
        "lr": 1e-2,
        "n_epochs_asked": 4,
        "orders": [first[batch].tolist() for _ in step_losses for batch in sampler],
        "step_losses": step_losses,
        "epoch_losses": epochs,
        "last": tolist(comet_state_dict(model._net.state_dict())),
        "average": tolist(comet_state_dict(model.net.state_dict())),
        "n_averaged": int(model.net.n_averaged),
    }


def tolist(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Tensors as nested lists."""
    return {name: value.tolist() for name, value in tensors.items()}


if __name__ == "__main__":
    main()
