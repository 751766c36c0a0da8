"""COMET's pretraining step: ours against the public implementation, on one CPU thread.

    python benchmarks/comet_step.py CHECKOUT [--repetitions 7]

CHECKOUT is a local clone of https://github.com/DL4mHealth/COMET; its own `fit` is run unmodified on one
batch. Both sides compute the same loss formula (patient, trial, sample and observation level, dropout
drawn anew for each encoding) and do forward, backward, AdamW and the weight average. Ours encodes each
view once: one clean pass whose dropout is drawn four times, and two masked passes.

Times are interleaved, so that a busy machine slows both; read the ratio. Memory is the peak of a child
process less its peak once everything is imported and the model is made.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

N_TIMES, N_CHANS = 300, 15
FACTORS = [0.25, 0.25, 0.25, 0.25]
Step = Callable[[], float]


def main() -> None:
    """Print the ratios, or run one child measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--peak-of", choices=["public", "ours", "ours-bf16"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_of:
        print(peak_mib(args.checkout, args.peak_of, args.batch))
        return
    report_time(args.checkout, args.batch, args.repetitions)
    report_memory(args.checkout)


def report_time(checkout: Path, n_samples: int, repetitions: int) -> None:
    """Median step times of interleaved repetitions, and their ratios."""
    import torch

    steps = {name: make(checkout, n_samples) for name, make in MAKERS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repetition in range(repetitions + 1):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            if repetition > 0:  # the first is warm-up
                seconds[name].append(time.perf_counter() - begin)
    print(f"torch {torch.__version__}, one thread, B={n_samples}, T={N_TIMES}, {N_CHANS} channels")
    print(f"processor: {torch.backends.cpu.get_cpu_capability()}, bf16 flags: {bf16_flags() or 'none'}")
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(seconds["public"], values, strict=True)]
        print(
            f"{name:10} median {statistics.median(values):6.2f} s (min {min(values):.2f}), "
            f"speed against public {statistics.median(ratios):5.2f} x"
        )


def report_memory(checkout: Path) -> None:
    """Peak memory of child processes."""
    public = child_peak(checkout, "public", 64)
    ours = child_peak(checkout, "ours", 64)
    print(f"peak memory, B=64: public {public:.2f} GiB, ours {ours:.2f} GiB, share {ours / public:.2f}")
    print(f"peak memory, B=64, bf16: ours {child_peak(checkout, 'ours-bf16', 64):.2f} GiB")
    print(f"peak memory, B=256: ours {child_peak(checkout, 'ours', 256):.2f} GiB")


def child_peak(checkout: Path, name: str, n_samples: int) -> float:
    """Peak memory of one side in GiB, from a fresh process."""
    command = [sys.executable, __file__, str(checkout), "--peak-of", name, "--batch", str(n_samples)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]) / 1024


def peak_mib(checkout: Path, name: str, n_samples: int) -> float:
    """Peak resident memory of two steps above that of the imports, in MiB."""
    step = MAKERS[name](checkout, n_samples)
    baseline = peak_so_far()
    step()
    step()
    return peak_so_far() - baseline


def peak_so_far() -> float:
    """Peak resident memory of this process in MiB (`getrusage` would count the parent's before exec)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def bf16_flags() -> str:
    """The processor's bfloat16 features, where Linux names them."""
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    return " ".join(sorted({flag for flag in flags if "bf16" in flag or flag.startswith("amx")}))


def example_batch(n_samples: int) -> tuple:
    """Noise with the ids of PTB-like trials of ten beats, two trials per patient."""
    import numpy as np

    x = np.random.default_rng(0).standard_normal((n_samples, N_TIMES, N_CHANS), dtype=np.float32)
    trial = np.arange(n_samples) // 10
    return x, trial // 2, trial


def public_step(checkout: Path, n_samples: int) -> Step:
    """One step of the public `COMET.fit`."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    sys.path.insert(0, str(checkout.resolve()))
    from comet import COMET

    x, patient, trial = example_batch(n_samples)
    y = np.stack([np.zeros(n_samples), patient, trial], axis=1)
    model = COMET(N_CHANS, device="cpu", lr=1e-4, batch_size=n_samples)

    def step() -> float:
        model.n_epochs = 1  # their counter starts at 1, so n_epochs=2 is one pass over one batch
        return model.fit(x, y, factors=FACTORS, n_epochs=2, verbose=False)[0][0]

    return step


def our_step(checkout: Path, n_samples: int, precision: str = "float32") -> Step:
    """One step of the same loss with biocl: the terms of `comet-reference`."""
    import torch

    from biocl.encoders.spec import DilatedCNNSpec
    from biocl.objectives.batch import Batch
    from biocl.objectives.criterion_spec import CometId, NTXent
    from biocl.objectives.model import Model
    from biocl.objectives.spec import ContrastTerm
    from biocl.objectives.terms import make_views, step_loss
    from biocl.randomness import integer_seed
    from biocl.training.averaging import start_average, update_average
    from biocl.training.optimisation import autocast, make_optimiser
    from biocl.training.spec import OptimSpec, UniformAverage
    from biocl.views.spec import MaskStep

    torch.set_num_threads(1)
    x, patient, trial = (torch.as_tensor(part) for part in example_batch(n_samples))
    first_step = torch.arange(n_samples) * N_TIMES
    length = torch.full_like(first_step, N_TIMES)
    batch = Batch(x.transpose(1, 2), patient, patient, trial, first_step, length, label=patient * 0)
    mask = MaskStep(mask="continuous")
    views = {"clean": [], "masked_1": [mask], "masked_2": [mask]}
    masked: dict = {
        "views": ["masked_1", "masked_2"],
        "read": "seq",
        "pool": "hierarchical-max",
        "criterion": NTXent(name="nt-xent", similarity="dot", temperature=1.0),
        "weight": 0.25,
        "ignore": [],
    }
    clean: dict = {
        "views": ["clean", "clean"],
        "redraw_dropout": True,
        "read": "time-course",
        "criterion": CometId(name="comet-id"),
        "ignore": [],
    }
    terms = [
        ContrastTerm(relation="same-patient", **clean),
        ContrastTerm(relation="same-trial", **clean),
        ContrastTerm(relation="same-sample", **masked),
        ContrastTerm(relation="same-time-step", **masked),
    ]
    spec = DilatedCNNSpec()
    model = Model(spec, n_chans=N_CHANS).train()
    optimiser = make_optimiser(model.parameters(), OptimSpec(lr=1e-4))
    uniform = UniformAverage(kind="uniform", include_init=True)
    average, counted = start_average(uniform, model.state_dict())
    generator = torch.Generator()
    n_steps = 0

    def step() -> float:
        nonlocal counted, n_steps
        optimiser.zero_grad()
        drawn = make_views(
            batch,
            views,
            terms,
            hidden_dim=spec.hidden_dim,
            generator=generator,
            seed_of=partial(integer_seed, 0, n_steps),
        )
        with autocast(precision, x.device):
            loss = step_loss(model, batch, drawn, terms)
        loss.total.backward()
        optimiser.step()
        n_steps += 1
        counted = update_average(uniform, average, counted, model.state_dict(), n_steps)
        return loss.total.item()

    return step


def our_step_bf16(checkout: Path, n_samples: int) -> Step:
    """The same under bfloat16 autocast."""
    return our_step(checkout, n_samples, precision="bf16")


MAKERS = {"public": public_step, "ours": our_step, "ours-bf16": our_step_bf16}

if __name__ == "__main__":
    main()
