"""A joint step of forecast and contrast: ours, by configuration, against the public implementation, on a CPU.

    python benchmarks/forecast_step.py CHECKOUT [--config forecast-etth1] [--look-back 96] [--horizon 48]

CHECKOUT is a local clone of https://github.com/chiyuzhang94/contrastive_learning_time-series_e2e, which needs einops.
Its ``informer-moco`` runs unmodified, with the arguments of its own scripts (``scripts/run_all-informer.sh``) but for
the processor as its device: forward of the query and of the momentum copy, queue, mean squared error and contrast at
equal weights, backward, Adam; its anomaly detection, which its main script leaves on, is off here. Ours does by the
terms of a configuration what `biocl pretrain` does in a step, and a second time with MoCo in the place of the
configuration's contrast (momentum copy, a queue of 512). All sides have batches of 16 windows of seven channels, in
float32.

Every measurement is a process of its own, and the sides take turns, so that a busy machine slows all; read the ratios.
Time is processor time of a step, its median without the first two, which are warm-up. Memory is the peak of the process
less its peak once everything is imported and the model is made.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

N_CHANS, BATCH, HOUR_S, WARM_UP = 7, 16, 3600.0, 2
PUBLIC = "public"
SIDES = {PUBLIC: "public informer-moco", "ours": "ours", "moco": "ours, with MoCo"}
TARGET = 2.5
Measured = dict[str, Any]


def main() -> None:
    """Print the ratios, or measure one side and print its numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--config", default="forecast-etth1")
    parser.add_argument("--look-back", type=int, default=96, help="steps of a window")
    parser.add_argument("--horizon", type=int, default=48, help="steps that are forecast")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side")
    parser.add_argument("--steps", type=int, default=12, help=f"steps of each process, {WARM_UP} for warm-up")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.steps <= WARM_UP:
        parser.error(f"--steps must be more than {WARM_UP}, which are warm-up")
    if args.side:
        print(json.dumps(measured_side(args.side, args)))
    else:
        report(args)


def report(args: argparse.Namespace) -> None:
    """Measure the sides in turn and print a line for each."""
    found: dict[str, list[Measured]] = {side: [] for side in args.sides}
    for _ in range(args.rounds):
        for side in args.sides:
            found[side].append(in_a_process(side))
    print(f"{args.threads} thread(s), {BATCH} windows x {N_CHANS} channels, {args.look_back} to {args.horizon} steps")
    medians = {side: summary(measured) for side, measured in found.items()}
    for side, (seconds, gib) in medians.items():
        line = f"{SIDES[side]:22} {1000 * seconds:7.1f} ms, peak memory {gib:5.2f} GiB, "
        line += f"{found[side][0]['weights']:,} weights"
        if PUBLIC in medians and side != PUBLIC:
            line += f"; {medians[PUBLIC][0] / seconds:.1f} x as fast, {gib / medians[PUBLIC][1]:.2f} of the memory"
        print(line)
    if PUBLIC in medians and "ours" in medians:
        met = medians[PUBLIC][0] / medians["ours"][0] >= TARGET
        print(f"target: {TARGET:g} times as fast: {'met' if met else 'MISSED'}")


def summary(measured: Sequence[Measured]) -> tuple[float, float]:
    """Median seconds of a step over all processes, and median peak in GiB."""
    seconds = statistics.median(second for one in measured for second in one["seconds"])
    return seconds, statistics.median(one["peak_mib"] for one in measured) / 1024


def in_a_process(side: str) -> Measured:
    """The numbers of one side, from a fresh process with the same arguments."""
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: Measured = json.loads(done.stdout.splitlines()[-1])
    return measured


def measured_side(side: str, args: argparse.Namespace) -> Measured:
    """Processor seconds of each step but the first, the peak above the model's in MiB, and how many weights train."""
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    step, weights = public_step(args) if side == PUBLIC else our_step(side, args)
    before = peak_mib()
    seconds = []
    for number in range(args.steps):
        start = time.process_time()
        step(number)
        seconds.append(time.process_time() - start)
    return {"seconds": seconds[WARM_UP:], "peak_mib": peak_mib() - before, "weights": weights}


def peak_mib() -> float:
    """The peak of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def series(n_steps: int) -> Any:
    """Windows (BATCH, N_CHANS, n_steps) with a daily wave, a drift and noise."""
    import torch

    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(BATCH, N_CHANS, n_steps, generator=draw)
    wave = torch.sin(torch.arange(n_steps) / 24 * 2 * torch.pi + torch.rand(BATCH, N_CHANS, 1, generator=draw) * 6)
    return wave + 0.1 * noise.cumsum(dim=2) + 0.3 * noise


def public_step(args: argparse.Namespace) -> tuple[Callable[[int], None], int]:
    """One step of the public ``train`` loop, and the weights that it trains."""
    import torch

    sys.path.insert(0, str(args.checkout))
    from exp.exp_informer import Exp_Informer  # type: ignore[import-not-found]

    keys = SimpleNamespace(
        model="informer-moco", enc_in=N_CHANS, c_out=N_CHANS, d_model=320, e_layers=5, pred_len=args.horizon,
        label_len=48, seq_len=args.look_back, freq="h", kernel_size=3, dropout=0.05, l2norm=True, mare=False,
        moco_average_pool=False, data_aug=False, time_feature_embed=False, embed="learned", mask_rate=0.3, padding=0,
        use_gpu=False, use_multi_gpu=False, use_amp=False, output_attention=False, inverse=False, features="M",
        loss_lambda=0.5, learning_rate=1e-3,
    )  # fmt: skip
    experiment = Exp_Informer(keys)
    experiment.model.device = "cpu"
    optimiser = experiment._select_optimizer()
    both = series(args.look_back + args.horizon).transpose(1, 2)
    x, y = both[:, : args.look_back], both[:, args.look_back - keys.label_len :]
    marks = torch.zeros(BATCH, x.shape[1], 4), torch.zeros(BATCH, y.shape[1], 4)
    experiment.model.train()

    def step(number: int) -> None:
        optimiser.zero_grad()
        _, _, forecast, contrast = experiment._process_one_batch(None, x, y, *marks)
        loss = forecast * (1 - keys.loss_lambda) + contrast * keys.loss_lambda
        loss.item()
        loss.backward()
        optimiser.step()

    return step, sum(weight.numel() for weight in experiment.model.parameters() if weight.requires_grad)


def our_step(side: str, args: argparse.Namespace) -> tuple[Callable[[int], None], int]:
    """One step with the views, encoder, terms and optimiser of a configuration, and the weights that it trains."""
    from functools import partial

    import torch

    from biocl.config import load_experiment
    from biocl.objectives.batch import Batch
    from biocl.objectives.model import Model
    from biocl.objectives.terms import make_views, step_loss
    from biocl.randomness import integer_seed
    from biocl.signals.recording import Channel
    from biocl.training.levels import levelled, levels
    from biocl.training.optimisation import make_optimiser
    from biocl.views.signal import SignalInfo

    moco = [
        "terms.1.criterion={name: info-nce, temperature: 1.0}",
        "terms.1.keys=momentum",
        "terms.1.queue={size: 512}",
    ]
    windows = {"kind": "sliding", "step_s": HOUR_S}
    windows |= {"length_s": args.look_back * HOUR_S, "horizon_s": args.horizon * HOUR_S}
    experiment = load_experiment(
        Path(args.config), [f"data.windows={json.dumps(windows)}", *(moco if side == "moco" else [])]
    )
    channels = tuple(Channel(f"c{number}", "other", "NU") for number in range(N_CHANS))
    both = series(args.look_back + args.horizon)
    x, future = both[..., : args.look_back], both[..., args.look_back :]
    level = levels(x, None, experiment.data.normalise)
    place = torch.arange(BATCH)
    nothing = torch.zeros_like(place)
    batch = Batch(
        levelled(x, None, *level), nothing, nothing, place, place * x.shape[2], torch.full_like(place, x.shape[2]),
        nothing, future=future, level=level,
    )  # fmt: skip
    model = Model(
        experiment.encoder,
        n_chans=N_CHANS,
        n_times=args.look_back,
        sfreq=1 / HOUR_S,
        channels=channels,
        projectors=experiment.projectors,
        terms=experiment.terms,
        horizon=args.horizon,
    ).train()
    model.start_following()
    optimiser, generator = make_optimiser(model.parameters(), experiment.train), torch.Generator()
    signal = SignalInfo(1 / HOUR_S, channels)

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
        loss = step_loss(model, batch, views, experiment.terms, signal=signal)
        loss.total.item()
        loss.total.backward()
        optimiser.step()
        model.follow([loss.keys])

    return step, sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


if __name__ == "__main__":
    main()
