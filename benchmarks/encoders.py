"""The README's table of encoders: parameters, receptive field and speed relative to the dilated CNN.

    python benchmarks/encoders.py [--chans 22] [--times 1000] [--sfreq 250] [--batch 8] [--repetitions 5] [--tsai]

Each encoder has its default sizes. Speed is windows a second of a training step (forward and backward of the mean
square of the sequence) on one CPU thread; steps of all encoders are interleaved with those of the dilated CNN, so that
a busy machine slows both, and the middle ratio is shown. `--tsai` adds tsai's models that the tests run; those
without a receptive field of their own are given as the whole window.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

REFERENCE = "dilated-cnn"
OWN: dict[str, dict[str, Any]] = {
    "dilated-cnn": {},
    "dilated-cnn, `causal: true`": {"name": "dilated-cnn", "causal": True},
    "resnet1d": {},
    "inception-time": {},
    "patch-transformer": {},
    "tpn": {},
    "scattering": {},
    "eegnet": {},
    "shallow-convnet": {},
    "ifnet": {},
    "ifnet, `bands: null`": {"name": "ifnet", "bands": None},
    "eeg-conformer": {},
    "channel-transformer": {},
    "lstm": {},
    "cost": {},
}
TSAI = [
    "InceptionTimePlus",
    "XceptionTimePlus",
    "ResNetPlus",
    "FCNPlus",
    "XCMPlus",
    "TSTPlus",
    "TSiTPlus",
    "ConvTranPlus",
    "PatchTST",
    "LSTM_FCNPlus",
    "LSTMPlus",
    "RNNAttentionPlus",
    "mWDNPlus",
    "MiniRocketPlus",
    "HydraPlus",
]
NO_EXPORT = ("tsai/TSTPlus", "tsai/MiniRocketPlus", "tsai/HydraPlus")


def main() -> None:
    """Print the table as markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chans", type=int, default=22)
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--sfreq", type=float, default=250.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--tsai", action="store_true")
    args = parser.parse_args()
    print(f"{args.chans} channels, {args.times} samples at {args.sfreq:g} Hz, batches of {args.batch}, one thread\n")
    print("| encoder | parameters | one step sees | windows a second, dilated-cnn = 1 |")
    print("|---|---|---|---|")
    for name, keys in {**OWN, **({f"tsai/{one}": {} for one in TSAI} if args.tsai else {})}.items():
        print(row(name, {"name": name, **keys}, args), flush=True)


def row(name: str, keys: dict[str, Any], args: argparse.Namespace) -> str:
    """One line of the table."""
    import torch

    torch.set_num_threads(1)
    step, encoder = training_step(keys, args)
    reference, _ = training_step({"name": REFERENCE}, args)
    ratios = []
    for repetition in range(args.repetitions + 1):
        ratio = seconds(reference) / seconds(step)
        if repetition > 0:  # the first is warm-up
            ratios.append(ratio)
    n_parameters = sum(p.numel() for p in encoder.parameters())
    field = encoder.receptive_field
    # Attention and what is not known are given as the whole window.
    seen = "the whole window" if field == args.times else f"{field:,} samples ({1000 * field / args.sfreq:,.0f} ms)"
    note = " (no `torch.export`)" if name in NO_EXPORT else ""
    speed = "1" if name == REFERENCE else f"{statistics.median(ratios):.3g}"
    return f"| {name}{note} | {n_parameters:,} | {seen} | {speed} |"


def training_step(keys: dict[str, Any], args: argparse.Namespace) -> tuple[Callable[[], None], Any]:
    """A forward and backward pass of a new encoder, and the encoder."""
    import torch
    from pydantic import TypeAdapter

    from biocl.encoders.build import build_encoder
    from biocl.encoders.spec import EncoderSpec

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = TypeAdapter(EncoderSpec).validate_python(keys)
        encoder = build_encoder(spec, n_chans=args.chans, n_times=args.times, sfreq=args.sfreq)
    x = torch.randn(args.batch, args.chans, args.times)
    trains = any(p.requires_grad for p in encoder.parameters())

    def step() -> None:
        out = encoder(x)
        if trains:  # some of tsai's have fixed weights, and are only run forward
            encoder.zero_grad()
            out.square().mean().backward()

    return step, encoder


def seconds(step: Callable[[], None]) -> float:
    """Wall time of a step."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
