"""The public ColloSSL training function, on a processor, in a TensorFlow environment of its own.

    python benchmarks/collossl_public.py step CHECKOUT [--devices 7] [--batch 512] [--n-times 150] [--steps 3]

CHECKOUT is a local clone of https://github.com/akhilmathurs/collossl. `environment` makes the environment that this
script is then run in: a virtual one with TensorFlow and nothing of biocl. `group_supervised_contrastive_train_model`
runs unmodified: device selection by MMD in each batch, seven forward passes, the weighted multi-view loss, backward
and Adam, with the flags of ``scripts/collossl_single_run.sh``. From outside, the command line that its modules parse
when they are imported is set, and what they import and the step never calls (scikit-learn, the reader of recordings) is
replaced by empty modules.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import types
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

TENSORFLOW = "tensorflow-cpu==2.15.1"
N_CHANS = 6
LR, TEMPERATURE = 1e-4, 0.05
FLAGS = [
    "--exp_name=step",
    "--training_mode=multi",
    "--multi_sampling_mode=unsync_neg",
    "--neg_sample_size=1",
    "--dynamic_device_selection=1",
    "--device_selection_strategy=closest_pos_all_neg",
    "--weighted_collossl",
    "--contrastive_temperature=0.05",
    "--learning_rate=1e-4",
]


def environment(folder: Path) -> Path:
    """The interpreter of a virtual environment with TensorFlow, made in `folder` unless it is there."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", TENSORFLOW], check=True, stderr=subprocess.DEVNULL)
    return python


def run(python: Path, *arguments: str, threads: int = 1) -> Any:
    """What this script prints in that environment."""
    quiet = {
        "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "",
        "TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": str(threads), "OMP_NUM_THREADS": str(threads),
    }  # fmt: skip
    done = subprocess.run(
        [python, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True, env=os.environ | quiet
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print numbers of the public code, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["step", "values"])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--devices", type=int, default=7)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--n-times", type=int, default=150)
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    if args.what == "step":
        found = steps(args)
    else:
        from collossl_reference_values import public_values

        found = public_values(public_modules(args.checkout))
    print(json.dumps(found))


def public_modules(checkout: Path) -> types.SimpleNamespace:
    """Its modules for training, losses, distances, device selection and models."""
    for name in ("sklearn", "sklearn.metrics", "load_data"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["sklearn"].metrics = sys.modules["sklearn.metrics"]  # type: ignore[attr-defined]
    sys.path.insert(0, str(checkout.resolve()))
    own, sys.argv = sys.argv, [sys.argv[0], *FLAGS]
    try:
        import common_parser  # type: ignore[import-not-found]
        import device_selection  # type: ignore[import-not-found]
        import distances  # type: ignore[import-not-found]
        import loss_fn  # type: ignore[import-not-found]
        import simclr_models  # type: ignore[import-not-found]
        import simclr_utitlities  # type: ignore[import-not-found]

        return types.SimpleNamespace(
            args=common_parser.get_parser().parse_args(),
            selection=device_selection,
            distances=distances,
            loss=loss_fn,
            models=simclr_models,
            training=simclr_utitlities,
        )
    finally:
        sys.argv = own


def moving(n_devices: int, n_windows: int, n_times: int) -> np.ndarray:
    """Windows (V, B, T, 6) of one movement that devices feel more weakly the further they are from the first.

    Divided by one constant, as the published data are, so that distances lie among the bandwidths.
    """
    stream = np.random.RandomState(0)
    shared = stream.standard_normal((1, n_windows, n_times, N_CHANS))
    own = stream.standard_normal((n_devices, n_windows, n_times, N_CHANS))
    gain = 1 / (1 + 0.2 * np.arange(n_devices).reshape(-1, 1, 1, 1))
    found: np.ndarray = ((gain * shared + 0.5 * own) / 10 + 0.3).astype(np.float32)
    return found


def steps(args: argparse.Namespace) -> dict[str, Any]:
    """Processor seconds of each step but the first, of its device selection, and the peak above the model's."""
    public = public_modules(args.checkout)
    import tensorflow as tf  # type: ignore[import-not-found]

    tf.config.set_visible_devices([], "GPU")
    model, _ = public.models.create_base_model((args.n_times, N_CHANS), model_name="1d_conv")
    optimiser = tf.keras.optimizers.Adam(tf.keras.experimental.CosineDecay(LR, decay_steps=1000))
    x = moving(args.devices, args.batch, args.n_times)
    clock, select = Clock(), public.training.get_pos_neg
    public.training.get_pos_neg = clock.timed(select)

    def loss(*given: Any) -> Any:
        return public.loss.weighted_group_contrastive_loss_with_temp(*given, temperature=TEMPERATURE)

    def batches() -> Iterator[np.ndarray]:
        clock.begin()
        for _ in range(args.steps):
            yield x
            clock.step()

    public.training.group_supervised_contrastive_train_model(
        model,
        batches(),
        lambda windows: windows,
        optimiser,
        (0, [], []),
        None,
        loss,
        "closest_pos_all_neg",
        public.args,
        weighted=True,
        epochs=1,
        training=True,
    )
    return {"version": f"TensorFlow {tf.__version__}", **clock.measured()}


class Clock:
    """Processor time of every step and of device selection in it, and the peak memory before the first."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.selection: list[float] = []
        self.baseline_mib = self.last = self.selecting = 0.0

    def begin(self) -> None:
        """The model is made; the first step begins."""
        self.baseline_mib, self.last = peak_so_far(), time.process_time()

    def step(self) -> None:
        """A step has ended, and the next begins."""
        self.seconds.append(time.process_time() - self.last)
        self.selection.append(self.selecting)
        self.selecting, self.last = 0.0, time.process_time()

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time counts as device selection."""

        def wrapped(*given: Any, **keys: Any) -> Any:
            begin = time.process_time()
            found = function(*given, **keys)
            self.selecting += time.process_time() - begin
            return found

        return wrapped

    def measured(self) -> dict[str, Any]:
        """The numbers without the first step, which is warm-up."""
        return {
            "seconds": self.seconds[1:],
            "selection": self.selection[1:],
            "peak_mib": peak_so_far() - self.baseline_mib,
        }


def peak_so_far() -> float:
    """Peak resident memory of this process in MiB (`getrusage` would count the parent's before exec)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


if __name__ == "__main__":
    main()
