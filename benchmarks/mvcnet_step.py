"""MVCNet's training step: ours, by configuration, against the public implementation, on a CPU.

    python benchmarks/mvcnet_step.py CHECKOUT [--config mvcnet-reference --config mvcnet] [--threads 1]

CHECKOUT is a local clone of https://github.com/wzwvv/MVCNet. Its own `train_target` runs unmodified on one batch of
BNCI2014001's shape (64 windows of 22 channels and 1,001 samples): three views, two branches, losses, backward, four
Adams. It needs a CUDA device; its device calls are patched to the CPU from outside (`mvcnet_public.py`). Ours makes the
views, encodes, and does backward and the optimiser's step as `biocl pretrain` does, in the precision that the
configuration names.

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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SITES = (
    "Fz", "FC3", "FC1", "FCz", "FC2", "FC4", "C5", "C3", "C1", "Cz",
    "C2", "C4", "C6", "CP3", "CP1", "CPz", "CP2", "CP4", "P1", "Pz", "P2", "POz",
)  # fmt: skip
CLASSES = ("left_hand", "right_hand")
SFREQ = 250.0
PUBLIC = "public"
Measured = dict[str, Any]


def main() -> None:
    """Print the ratios, or measure one side and print its numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--config", action="append", help="a configuration; mvcnet-reference and mvcnet by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side")
    parser.add_argument("--steps", type=int, default=3, help="steps of each process, the first for warm-up")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--n-times", type=int, default=1001, help="samples of a window: an odd number from 127")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.steps < 2:
        parser.error("--steps must be at least 2, since the first is warm-up")
    if args.n_times < 127 or args.n_times % 2 == 0:
        parser.error("--n-times must be odd and at least 127: the public code drops a sample and splits in two heads")
    if args.side:
        print(json.dumps(measure(args.side, args)))
        return
    report(args)


def report(args: argparse.Namespace) -> None:
    """Measure all sides in turn and print a line for each."""
    sides = [PUBLIC, *(args.config or ("mvcnet-reference", "mvcnet"))]
    found: dict[str, list[Measured]] = {side: [] for side in sides}
    for _ in range(args.rounds):
        for side in sides:
            found[side].append(in_a_process(side))
    import torch

    print(
        f"torch {torch.__version__}, {args.threads} thread(s), {args.batch} windows x {len(SITES)} channels x "
        f"{args.n_times} samples; processor: {torch.backends.cpu.get_cpu_capability()}"
    )
    print("The public code's device calls are patched to the CPU.")
    public = summary(found[PUBLIC])
    for side in sides:
        seconds, gib = summary(found[side])
        print(
            f"{side:24} {seconds:7.3f} s ({public[0] / seconds:6.2f} x as fast as public), "
            f"peak memory {gib:5.2f} GiB ({gib / public[1]:.2f} of public)"
        )


def summary(measured: list[Measured]) -> tuple[float, float]:
    """Median seconds of a step over all processes, and their median peak in GiB."""
    seconds = statistics.median(second for one in measured for second in one["seconds"])
    return seconds, statistics.median(one["peak_mib"] for one in measured) / 1024


def in_a_process(side: str) -> Measured:
    """The numbers of one side, from a fresh process with the same arguments."""
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: Measured = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure(side: str, args: argparse.Namespace) -> Measured:
    """Processor seconds of each step but the first, and the peak above the model's, in MiB."""
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    clock = Clock()
    if side == PUBLIC:
        public_steps(args, clock)
    else:
        our_steps(side, args, clock)
    return {"seconds": clock.seconds[1:], "peak_mib": peak_so_far() - clock.baseline_mib}


class Clock:
    """Processor time of every step, and the peak memory before the first."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.baseline_mib = self.last = 0.0

    def begin(self) -> None:
        """The model is made; the first step begins."""
        self.baseline_mib, self.last = peak_so_far(), time.process_time()

    def step(self) -> None:
        """A step has ended, and the next begins."""
        now = time.process_time()
        self.seconds.append(now - self.last)
        self.last = time.process_time()


def peak_so_far() -> float:
    """Peak resident memory of this process in MiB (`getrusage` would count the parent's before exec)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def example(args: argparse.Namespace) -> Any:
    """Noise and labels, as a batch in which every window is a trial of its own."""
    import torch

    from biocl.objectives.batch import Batch

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(args.batch, args.n_times, len(SITES), generator=generator).transpose(1, 2)
    ids = torch.arange(args.batch)
    length = torch.full_like(ids, args.n_times)
    return Batch(x, ids // 16, ids // 16, ids, ids * args.n_times, length, label=ids % 2)


def public_steps(args: argparse.Namespace, clock: Clock) -> None:
    """Steps of the public training function."""
    from mvcnet_public import arguments, public_module, train

    module = public_module(args.checkout)
    batch = example(args)
    settings = arguments(len(SITES), args.n_times, args.batch, args.steps)
    train(module, settings, batch.x.contiguous(), batch.label, at_begin=clock.begin, after_step=clock.step)


def our_steps(config: str, args: argparse.Namespace, clock: Clock) -> None:
    """Steps of a configuration."""
    step = our_step(config, args)
    clock.begin()
    for number in range(args.steps):
        step(number)
        clock.step()


def our_step(config: str, args: argparse.Namespace) -> Callable[[int], None]:
    """One step with the views, encoder, terms and precision of a configuration."""
    from functools import partial

    import torch

    from biocl.config import load_experiment
    from biocl.objectives.model import Model
    from biocl.objectives.terms import make_views, step_loss
    from biocl.randomness import integer_seed
    from biocl.signals.recording import Channel
    from biocl.training.optimisation import autocast, make_optimiser, resolve_precision
    from biocl.views.signal import SignalInfo

    experiment, batch, generator = load_experiment(Path(config)), example(args), torch.Generator()
    signal = SignalInfo(SFREQ, tuple(Channel(name, "eeg", "uV") for name in SITES), CLASSES)
    model = Model(
        experiment.encoder,
        n_chans=len(SITES),
        n_times=args.n_times,
        sfreq=SFREQ,
        channel_names=SITES,
        projectors=experiment.projectors,
        terms=experiment.terms,
        n_outputs=len(CLASSES),
    ).train()
    optimiser = make_optimiser(model.parameters(), experiment.train)
    precision = resolve_precision(experiment.train.precision, batch.x.device)

    def step(number: int) -> None:
        optimiser.zero_grad()
        views = make_views(
            batch,
            experiment.views,
            experiment.terms,
            hidden_dim=model.hidden_dim,
            generator=generator,
            seed_of=partial(integer_seed, 0, number),
            signal=signal,
        )
        with autocast(precision, batch.x.device):
            loss = step_loss(model, batch, views, experiment.terms)
        loss.total.backward()
        optimiser.step()

    return step


if __name__ == "__main__":
    main()
