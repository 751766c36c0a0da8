"""ColloSSL's training step: ours, by configuration, against the public implementation, on a CPU.

    python benchmarks/collossl_step.py CHECKOUT [--config collossl-physical-therapy] [--environment FOLDER]

CHECKOUT is a local clone of https://github.com/akhilmathurs/collossl. Its own training function runs unmodified on one
batch of 512 moments of seven devices (RealWorld's windows of 150 samples and six channels), in a TensorFlow
environment that this script makes in a temporary folder, or in FOLDER to keep it (`collossl_public.py`). Ours does by
the terms of a configuration what `biocl pretrain` does in a step: MMD between the devices, the choice by it, negatives
at other moments, one pass over the windows of all devices with dropout, the loss, backward, AdamW. As in the public
step, one device is the anchor; beside it stands each device in turn, as the configuration has it. All in float32.

Every measurement is a process of its own, and the sides take turns, so that a busy machine slows all; read the
ratios. Time is processor time of a step, its median without the first, which is warm-up. Memory is the peak of the
process less its peak once everything is imported and the model is made.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from collossl_public import N_CHANS, Clock, environment, moving, run

SFREQ = 50.0
PUBLIC = "public"
SIDES = {
    PUBLIC: "public",
    "ours": "ours",
    "each": "ours, each device in turn the anchor",
}
TARGET, SELECTION = 2.0, 0.10
Measured = dict[str, Any]


def main() -> None:
    """Print the ratios, or measure one of our sides and print its numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--config", default="collossl-physical-therapy")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--environment", type=Path, help="folder of the TensorFlow environment; a temporary one if none"
    )
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side")
    parser.add_argument("--steps", type=int, default=4, help="steps of each process, the first for warm-up")
    parser.add_argument("--devices", type=int, default=7)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--n-times", type=int, default=150)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.steps < 2:
        parser.error("--steps must be at least 2, since the first is warm-up")
    if args.side:
        print(json.dumps(our_steps(args.side, args)))
    elif args.environment:
        report(args, environment(args.environment))
    else:
        with tempfile.TemporaryDirectory() as folder:
            report(args, environment(Path(folder)))


def report(args: argparse.Namespace, tensorflow: Path) -> None:
    """Measure the sides in turn and print a line for each."""
    sizes = [f"--{name}={getattr(args, name.replace('-', '_'))}" for name in ("devices", "batch", "n-times", "steps")]
    found: dict[str, list[Measured]] = {side: [] for side in args.sides}
    for _ in range(args.rounds):
        for side in args.sides:
            if side == PUBLIC:
                measured = run(tensorflow, "step", str(args.checkout), *sizes, threads=args.threads)
            else:
                measured = in_a_process(side)
            found[side].append(measured)
    versions = ", ".join(dict.fromkeys(one["version"] for side in found.values() for one in side))
    print(
        f"{versions}; {args.threads} thread(s), {args.devices} devices, {args.batch} windows x {N_CHANS} channels x "
        f"{args.n_times} samples"
    )
    medians = {side: summary(measured) for side, measured in found.items()}
    for side, (seconds, share, gib) in medians.items():
        line = f"{SIDES[side]:36} {seconds:6.2f} s, device selection {share:5.1%}, peak memory {gib:5.2f} GiB"
        if PUBLIC in medians and side != PUBLIC:
            line += f"; {medians[PUBLIC][0] / seconds:.2f} x as fast, {gib / medians[PUBLIC][2]:.2f} of the memory"
        print(line)
    if PUBLIC in medians and "ours" in medians:
        seconds, share, _ = medians["ours"]
        met = medians[PUBLIC][0] / seconds >= TARGET and share <= SELECTION
        print(f"targets: {TARGET:g} times as fast, selection at most {SELECTION:.0%}: {'met' if met else 'MISSED'}")


def summary(measured: Sequence[Measured]) -> tuple[float, float, float]:
    """Median seconds of a step over all processes, median share of device selection, and median peak in GiB."""
    pairs = [pair for one in measured for pair in zip(one["selection"], one["seconds"], strict=True)]
    seconds = statistics.median(second for _, second in pairs)
    share = statistics.median(selection / second for selection, second in pairs)
    return seconds, share, statistics.median(one["peak_mib"] for one in measured) / 1024


def in_a_process(side: str) -> Measured:
    """The numbers of one of our sides, from a fresh process with the same arguments."""
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: Measured = json.loads(done.stdout.splitlines()[-1])
    return measured


def our_steps(side: str, args: argparse.Namespace) -> Measured:
    """Processor seconds of each step but the first, of its device selection, and the peak above the model's, in MiB."""
    import torch

    from biocl.objectives import at_once

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    clock = Clock()
    for name in ("signal_magnitudes", "mmd_to_anchor", "mmd_between", "choose"):
        setattr(at_once, name, clock.timed(getattr(at_once, name)))
    step = our_step(side, args)
    clock.begin()
    for number in range(args.steps):
        step(number)
        clock.step()
    return {"version": f"torch {torch.__version__}", **clock.measured()}


def our_step(side: str, args: argparse.Namespace) -> Callable[[int], float]:
    """One step with the views, encoder, terms and optimiser of a configuration; it gives the loss."""
    from functools import partial

    import torch

    from biocl.config import load_experiment
    from biocl.objectives.batch import Batch
    from biocl.objectives.model import Model
    from biocl.objectives.terms import make_views, step_loss
    from biocl.randomness import integer_seed
    from biocl.signals.recording import Channel
    from biocl.training.optimisation import make_optimiser
    from biocl.views.signal import SignalInfo

    experiment, generator = load_experiment(Path(args.config)), torch.Generator()
    devices = [f"device{number}" for number in range(args.devices)]
    terms = [term if side == "each" else term.model_copy(update={"anchor": devices[0]}) for term in experiment.terms]
    kinds = [(kind, unit, axis) for kind, unit in (("acc", "m/s2"), ("gyr", "deg/s")) for axis in "xyz"]
    channels = tuple(
        Channel(f"{device}_{kind}_{axis}", kind, unit, device) for device in devices for kind, unit, axis in kinds
    )
    x = torch.from_numpy(moving(args.devices, args.batch, args.n_times))
    x = x.permute(1, 0, 3, 2).reshape(args.batch, -1, args.n_times)
    place = torch.arange(args.batch)
    nothing = torch.zeros_like(place)
    batch = Batch(x, nothing, nothing, place, place * args.n_times, torch.full_like(place, args.n_times), nothing)
    model = Model(
        experiment.encoder,
        n_chans=len(channels),
        n_times=args.n_times,
        sfreq=SFREQ,
        channels=channels,
        projectors=experiment.projectors,
        terms=terms,
    ).train()
    optimiser = make_optimiser(model.parameters(), experiment.train)

    def step(number: int) -> float:
        optimiser.zero_grad()
        views = make_views(
            batch,
            experiment.views,
            terms,
            hidden_dim=model.hidden_dim,
            generator=generator,
            seed_of=partial(integer_seed, 0, number),
            signal=SignalInfo(SFREQ, channels),
        )
        loss = step_loss(model, batch, views, terms, signal=SignalInfo(SFREQ, channels))
        loss.total.backward()
        optimiser.step()
        return loss.total.item()

    return step


if __name__ == "__main__":
    main()
