"""How the cost of a loss over devices grows with their number.

    python benchmarks/devices_scaling.py [--criterion mv-dhel --criterion cocoa] [--batch 512] [--dim 96] [--rounds 7]

Processor time of a loss and its gradient on one thread, for latents of 2, 4, 8 and 16 devices, in turn in every round;
each number is the median ratio to two devices in the same round. In brackets the same divided by the number of
devices over two: 1.00 is linear growth, and the target is at most 1.25.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

DEVICES = (2, 4, 8, 16)
TARGET = 1.25


def main() -> None:
    """Print a line for each criterion."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--criterion", action="append", help="mv-dhel, cocoa or mv-infonce; the first two by default")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--dim", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread; {args.batch} windows, {args.dim} features")
    for name in args.criterion or ["mv-dhel", "cocoa"]:
        measured = growth(loss_of(name), args)
        relative = {n: statistics.median(a / b for a, b in zip(measured[n], measured[2], strict=True)) for n in DEVICES}
        line = ", ".join(f"{n}: {ratio:.2f} ({ratio * 2 / n:.2f})" for n, ratio in relative.items())
        met = all(ratio * 2 / n <= TARGET for n, ratio in relative.items())
        print(f"{name:10} {1000 * statistics.median(measured[2]):6.1f} ms for 2 devices; times that for {line}")
        print(f"{'':10} target, at most {TARGET} times the number of devices: {'met' if met else 'MISSED'}")


def loss_of(name: str) -> Callable[[Any], Any]:
    """A criterion of latents (V, B, D), as a term of a configuration calls it."""
    import torch
    from pydantic import TypeAdapter

    from biocl.objectives.at_once import at_once_loss
    from biocl.objectives.criterion_spec import AtOnce, Criterion

    criterion = TypeAdapter[Any](Criterion).validate_python({"name": name})
    assert isinstance(criterion, AtOnce)

    def loss(z: Any) -> Any:
        ignore = torch.zeros((z.shape[1], z.shape[1]), dtype=torch.bool)
        return at_once_loss(criterion, z, present=None, ignore=ignore)[0]

    return loss


def growth(loss: Callable[[Any], Any], args: argparse.Namespace) -> dict[int, list[float]]:
    """Seconds of every round but the first, by number of devices."""
    import torch

    generator = torch.Generator().manual_seed(0)
    latents = {n: torch.randn(n, args.batch, args.dim, generator=generator).requires_grad_() for n in DEVICES}
    seconds: dict[int, list[float]] = {n: [] for n in DEVICES}
    for number in range(args.rounds + 1):
        for n, z in latents.items():
            begin = time.process_time()
            torch.autograd.grad(loss(z), z)
            if number > 0:
                seconds[n].append(time.process_time() - begin)
    return seconds


if __name__ == "__main__":
    main()
