"""Numbers that the public MVCNet code computes, for the tests to compare ours with.

    python benchmarks/mvcnet_reference_values.py CHECKOUT [--out tests/fixtures/mvcnet_reference.json]

CHECKOUT is a local clone of https://github.com/wzwvv/MVCNet. Its code runs unmodified, its device calls patched to
the CPU from outside and its float32 read as float64 (`mvcnet_public.py`); only numbers are kept. Inputs and weights
come from NumPy's frozen `RandomState` stream, so the tests make the same ones without the public code. Needs git.
"""

from __future__ import annotations

import argparse
import json
import platform
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

DEFAULT_OUT = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "mvcnet_reference.json"
COMET = runpy.run_path(str(Path(__file__).with_name("reference_values.py")))
draws, fingerprint = COMET["draws"], COMET["fingerprint"]
PAIRS, WIDTH = (2, 8, 64, 256), 16
N_SAMPLES, N_CHANS, N_TIMES = 4, 22, 251
LABELS = [0, 1, 1, 0]
VIEWS = ("raw", "flip", "freq", "reflected")
TERM_SHAPE = (6, 32)
SEEDS = {"nt_xent": 3000, "features": 3100, "embeddings": 3110, "windows": 3200, "step": 3300}
N_STEPS = 2


def main() -> None:
    """Run the public code and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    args = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    from mvcnet_public import public_module

    torch.set_num_threads(1)
    module = public_module(args.checkout, torch.float64)
    values = {
        "source": source(args.checkout),
        "nt_xent": {str(n): nt_xent(module, n) for n in PAIRS},
        "terms": both_terms(module),
        "views": {str(n_times): views(module, n_times) for n_times in (N_TIMES, 1001)},
        "step": steps(module),
    }
    args.out.write_text(json.dumps(values, indent=1) + "\n")


def source(checkout: Path) -> dict[str, str]:
    """Where the numbers come from."""
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return {
        "repository": "https://github.com/wzwvv/MVCNet",
        "commit": subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def criterion(module: Any, n_pairs: int) -> Any:
    """Its NT-Xent for so many pairs, as its training function makes it."""
    return module.NTXentLoss(
        device=torch.device("cpu"), batch_size=n_pairs, temperature=0.2, use_cosine_similarity=True
    )


def nt_xent(module: Any, n_pairs: int) -> dict[str, Any]:
    """Value and gradients for `pair_of` so many pairs."""
    first, second = (z.requires_grad_() for z in pair_of(n_pairs))
    loss = criterion(module, n_pairs)(first, second)
    loss.backward()
    return {"loss": loss.item(), "gradients": fingerprint({"first": first.grad, "second": second.grad})}


def pair_of(n_pairs: int) -> tuple[Tensor, Tensor]:
    """Inputs of the loss: two drawn matrices, partly alike."""
    common = draws(SEEDS["nt_xent"], n_pairs, WIDTH)
    first, second = (draws(SEEDS["nt_xent"] + n_pairs + k, n_pairs, WIDTH) for k in (1, 2))
    return common + first, common + second


def term_inputs() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features f and embeddings z of the four views, drawn."""
    f = {name: draws(SEEDS["features"] + k, *TERM_SHAPE).abs() for k, name in enumerate(VIEWS)}
    z = {name: draws(SEEDS["embeddings"] + k, *TERM_SHAPE).tanh() for k, name in enumerate(VIEWS)}
    return f, z


def both_terms(module: Any) -> dict[str, Any]:
    """The cross-view and the cross-model loss of drawn features, put together as its training function does."""
    f, z = term_inputs()
    for value in (*f.values(), *z.values()):
        value.requires_grad_()
    n = TERM_SHAPE[0]
    raw = torch.cat([f["raw"], z["raw"]])
    per_view = [criterion(module, 2 * n)(raw, torch.cat([f[name], z[name]])) for name in VIEWS[1:]]
    cvc = sum(per_view) / 3
    cmc = criterion(module, 4 * n)(torch.cat(list(f.values())), torch.cat(list(z.values())))
    (0.1 * cvc + 0.1 * cmc).backward()
    gradients = {f"{kind} {name}": value.grad for kind, own in (("f", f), ("z", z)) for name, value in own.items()}
    return {
        "per_view": [value.item() for value in per_view],
        "cvc": cvc.item(),
        "cmc": cmc.item(),
        "gradients_of_a_tenth": fingerprint(gradients),
    }


def windows(n_times: int) -> Tensor:
    """Drawn windows (N_SAMPLES, N_CHANS, n_times) with a slow part."""
    return draws(SEEDS["windows"], N_SAMPLES, N_CHANS, n_times).cumsum(dim=2) / 10 + 0.5


def views(module: Any, n_times: int) -> dict[str, Any]:
    """Its three views of the windows, and the labels they carry."""
    from mvcnet_public import arguments

    args = arguments(N_CHANS, n_times, N_SAMPLES, 1)
    x, y = windows(n_times).numpy(), np.array(LABELS)
    found = {}
    for name, place in (("flip", 2), ("freq", 3), ("reflected", 4)):
        given = x if name == "reflected" else x.swapaxes(1, 2)
        out, labels = module.data_aug(args, given, y, given.shape[1], [place == k for k in range(6)])
        out = out if name == "reflected" else out.swapaxes(1, 2)
        found[name] = {"x": fingerprint({"x": torch.from_numpy(out.copy())})["x"], "labels": labels.tolist()}
    return found


def steps(module: Any) -> dict[str, Any]:
    """Two steps of its training function with drawn weights and no dropout: losses of both, gradients of the first."""
    from mvcnet_public import arguments, train

    networks: dict[str, nn.Module] = {}
    outputs: dict[str, list[Tensor]] = {"features": [], "classifier": [], "projector": []}
    pairs: list[float] = []
    totals: list[float] = []
    gradients: list[dict[str, list[float]]] = []

    def prepared(name: str, network: nn.Module) -> nn.Module:
        networks[name] = with_drawn_weights(network.double(), name)
        if name in outputs:
            # The classifier gives its input and its output.
            networks[name].register_forward_hook(
                lambda _, given, out: outputs[name].append((out[1] if isinstance(out, tuple) else out).detach())
            )
        return networks[name]

    class Recorded(module.NTXentLoss):  # type: ignore[name-defined,misc]
        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            loss: Tensor = super().forward(first, second)
            pairs.append(loss.item())
            return loss

    def after_step() -> None:
        named = {f"{kind}.{name}": p.grad for kind, own in networks.items() for name, p in own.named_parameters()}
        gradients.append(fingerprint({name: grad for name, grad in named.items() if grad is not None}))

    backward = torch.Tensor.backward

    def recorded(self: Tensor, *args: Any, **keys: Any) -> None:
        totals.append(self.item())
        backward(self, *args, **keys)

    own_loss, module.NTXentLoss = module.NTXentLoss, Recorded
    torch.Tensor.backward = recorded  # type: ignore[method-assign]
    try:
        x = draws(SEEDS["step"], N_SAMPLES, N_CHANS, N_TIMES)
        args = arguments(N_CHANS, N_TIMES, N_SAMPLES, N_STEPS)
        train(module, args, x, torch.tensor(LABELS), after_step=after_step, prepared=prepared)
    finally:
        torch.Tensor.backward = backward  # type: ignore[method-assign]
        module.NTXentLoss = own_loss
    shapes = {f"{kind}.{name}": list(p.shape) for kind, own in networks.items() for name, p in own.named_parameters()}
    classes = [*LABELS, *LABELS, *LABELS, *(1 - label for label in LABELS)]
    entropies = [
        nn.functional.cross_entropy(logits, torch.tensor(classes[len(LABELS) * (k % 4) :][: len(LABELS)])).item()
        for k, logits in enumerate(outputs["classifier"])
    ]
    return {
        "sizes": {"n_chans": N_CHANS, "n_times": N_TIMES, "hidden_dim": args.dim_e * 2, "lr": args.lr},
        "projector": [args.projector_dim1, args.projector_dim2],
        "labels": LABELS,
        "shapes": shapes,
        "outputs": {
            kind: {view: fingerprint({"x": found[k]})["x"] for k, view in enumerate(VIEWS)}
            for kind, found in outputs.items()
        },
        "cross_entropies": [entropies[:4], entropies[4:]],
        "per_view": [pairs[:3], pairs[4:7]],
        "cmc": [pairs[3], pairs[7]],
        "total": totals,
        "gradients": gradients[0],
    }


def drawn_weights(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Weights by name: tensor k of the sorted names is drawn with seed k, scaled by its fan-in.

    Vectors are a tenth of the draw, those of a normalisation's weights one more.
    """
    weights = {}
    for seed, name in enumerate(sorted(shapes)):
        shape = tuple(shapes[name])
        fan_in = float(np.prod(shape[1:])) if len(shape) > 1 else 100.0
        weights[name] = draws(seed, *shape) / fan_in**0.5
        if len(shape) == 1 and name.endswith("weight"):
            weights[name] += 1
    return weights


def with_drawn_weights(network: nn.Module, name: str) -> nn.Module:
    """The network with `drawn_weights` of its own, under ``NAME.`` and its parameters' names, and without dropout."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    own = {f"{name}.{key}": p for key, p in network.named_parameters()}
    with torch.no_grad():
        for key, value in drawn_weights({key: list(p.shape) for key, p in own.items()}).items():
            own[key].copy_(value)
    return network


if __name__ == "__main__":
    main()
