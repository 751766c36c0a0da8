"""What each view costs, as a share of a COMET-like training step.

    python benchmarks/views.py [--threads 1] [--repetitions 5] [--config NAME …]

The step is that of `configs/comet-mitdb.yaml`, the smallest that is shipped for real recordings: a clean view and two
masked ones, encoded once each, four contrastive terms, forward, backward and AdamW, on a batch of 64 windows of 12
ECG leads (or as many other channels), 300 steps at 250 Hz. Each view is made of that batch on its own; the share is
its median processor time over the step's, the two taken in turn. The last lines are configurations: all views that
the terms read, as a share of the configuration's own step, on windows of 4 s where it has two branches, and on two
devices of six channels where it has an encoder for each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

N_SAMPLES, N_TIMES, SFREQ = 64, 300, 250.0
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
SITES = ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "Fz", "Cz")
Run = Callable[[], object]


def main() -> None:
    """Print one line a view."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--config", action="append", help="a configuration; all shipped ones by default")
    args = parser.parse_args()

    import torch

    from biocl.config import shipped_configs
    from biocl.views.spec import STEPS

    torch.set_num_threads(args.threads)
    step = training_step("comet-mitdb")
    runs = {key: (view_of(key), step) for key in STEPS}
    for name in args.config or shipped_configs():
        runs[f"{name} (all views)"] = views_of_config(name), training_step(name)
    print(f"torch {torch.__version__}, {args.threads} thread(s), {N_SAMPLES} windows x 12 channels x {N_TIMES} steps")
    print(f"{'view':32} {'ms':>8} {'share of a step':>16}")
    for name, (run, step) in runs.items():
        own, whole = in_turn(run, step, args.repetitions)
        print(f"{name:32} {1000 * own:8.2f} {own / whole:15.1%}")


def in_turn(run: Run, step: Run, repetitions: int) -> tuple[float, float]:
    """Median seconds of processor time of both."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for repetition in range(repetitions + 1):
        for kept, one in zip(seconds, (run, step), strict=True):
            begin = time.process_time()
            one()
            if repetition > 0:  # the first is warm-up
                kept.append(time.process_time() - begin)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def signal_for(key: str) -> Any:
    """Twelve channels that suit a step."""
    from biocl.signals.recording import Channel
    from biocl.views.signal import SignalInfo

    if key == "reflect":
        return SignalInfo(SFREQ, tuple(Channel(name, "eeg", "uV") for name in SITES), ("left", "right"))
    if key in ("rotate", "device-dropout"):
        names = [(device, kind, axis) for device in ("wrist", "hip") for kind in ("acc", "gyr") for axis in "xyz"]
        return SignalInfo(SFREQ, tuple(Channel(f"{kind}_{axis}", kind, "SI", device) for device, kind, axis in names))
    return SignalInfo(SFREQ, tuple(Channel(name, "ecg", "mV") for name in LEADS), ("left", "right"))


def signal_of_config(experiment: Any) -> Any:
    """Twelve channels that suit a configuration's views and encoder."""
    uses = {step.key() for steps in experiment.views.values() for step in steps}
    if hasattr(experiment.encoder, "each"):
        return signal_for("rotate")
    return signal_for(next(iter(uses & {"reflect", "rotate"}), ""))


def n_times_of_config(experiment: Any) -> int:
    """Samples of a window that a configuration's encoder is made for."""
    return round(4 * SFREQ) if hasattr(experiment.encoder, "dual") else N_TIMES


def example_batch(n_times: int = N_TIMES) -> Any:
    """Noise with the ids of trials of eight windows, two trials per patient; laid out as a batch from a store is."""
    import torch

    from biocl.objectives.batch import Batch

    x = torch.randn(N_SAMPLES, n_times, len(LEADS), generator=torch.Generator().manual_seed(0)).transpose(1, 2)
    ids = torch.arange(N_SAMPLES)
    length = torch.full_like(ids, n_times)
    return Batch(x, ids // 16, ids // 16, ids // 8, ids * n_times, length, label=ids % 2)


def view_of(key: str) -> Run:
    """One view of one step, with its defaults."""
    import torch
    from pydantic import TypeAdapter

    from biocl.views.make import make_view
    from biocl.views.spec import ViewSpec
    from biocl.views.view import View

    batch, steps, generator = example_batch(), TypeAdapter(ViewSpec).validate_python([key]), torch.Generator()
    view = View(batch.x, target=batch.label)
    return lambda: make_view(view, steps, hidden_dim=64, generator=generator, signal=signal_for(key))


def views_of_config(name: str) -> Run:
    """All views that the terms of a configuration read, on the same batch."""
    import torch

    from biocl.config import load_experiment
    from biocl.objectives.terms import make_views
    from biocl.randomness import integer_seed

    experiment, generator = load_experiment(Path(name)), torch.Generator()
    n_times, known = n_times_of_config(experiment), signal_of_config(experiment)
    batch = example_batch(n_times)
    return lambda: make_views(
        batch,
        experiment.views,
        experiment.terms,
        hidden_dim=getattr(experiment.encoder, "hidden_dim", 64),
        generator=generator,
        seed_of=partial(integer_seed, 0),
        signal=known,
    )


def training_step(name: str) -> Run:
    """One step with the terms, views and encoder of a configuration."""
    import torch

    from biocl.config import load_experiment
    from biocl.objectives.model import Model
    from biocl.objectives.terms import make_views, step_loss
    from biocl.randomness import integer_seed
    from biocl.training.optimisation import make_optimiser

    experiment, generator = load_experiment(Path(name)), torch.Generator()
    n_times, known = n_times_of_config(experiment), signal_of_config(experiment)
    batch = example_batch(n_times)
    model = Model(
        experiment.encoder,
        n_chans=len(LEADS),
        n_times=n_times,
        sfreq=SFREQ,
        channels=known.channels,
        projectors=experiment.projectors,
        terms=experiment.terms,
        n_outputs=2,
    ).train()
    optimiser = make_optimiser(model.parameters(), experiment.train)

    def step() -> None:
        optimiser.zero_grad()
        views = make_views(
            batch,
            experiment.views,
            experiment.terms,
            hidden_dim=model.hidden_dim,
            generator=generator,
            seed_of=partial(integer_seed, 0),
            signal=known,
        )
        step_loss(model, batch, views, experiment.terms, signal=known).total.backward()
        optimiser.step()

    return step


if __name__ == "__main__":
    main()
