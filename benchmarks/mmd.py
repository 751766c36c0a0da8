"""What choosing devices by MMD costs in a step of ColloSSL, and how the cost grows with the devices.

    python benchmarks/mmd.py [--devices 7] [--batch 512] [--n-times 150] [--repetitions 5]

A step on one CPU thread: magnitudes and MMD from the anchor to every other device, the published choice, negatives at
other moments, one pass of the TPN encoder over the windows of all devices, the multi-view loss, backward and AdamW.
Times are processor times of the parts of the same steps; shares are medians over the steps. The target is that the
selection (magnitudes, MMD, choice) takes at most 10 % of a step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import pairwise
from typing import Any

TARGET = 0.10
N_CHANS = 6
PARTS = ("selection", "negatives", "encoder and loss", "backward", "optimiser")


def main() -> None:
    """Print the share of a step, and the growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=7)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--n-times", type=int, default=150)
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    report_share(args)
    report_growth(args)


def moving(n_windows: int, n_devices: int, n_times: int) -> Any:
    """Windows (B, V, 6, T) of one movement that devices feel more weakly the further they are from the first.

    Divided by one constant, as the published data are, so that distances lie among the bandwidths.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(n_windows, 1, N_CHANS, n_times, generator=generator)
    own = torch.randn(n_windows, n_devices, N_CHANS, n_times, generator=generator)
    gain = 1 / (1 + 0.2 * torch.arange(n_devices)[:, None, None])
    return (gain * shared + 0.5 * own) / 10 + 0.3


def select(x: Any, anchor: int) -> Any:
    """The published choice for a batch of windows."""
    from biocl.objectives.device_selection import choose, magnitudes, mmd_to_anchor

    m = magnitudes(x, [(0, 1, 2)] * x.shape[1]).transpose(0, 1)
    return choose("closest-positive-all-negative", mmd_to_anchor(m, anchor), anchor)


def report_share(args: argparse.Namespace) -> None:
    """Median share of every part of a step."""
    import torch

    from biocl.encoders.build import build_encoder
    from biocl.encoders.spec import TPNSpec
    from biocl.objectives.batch import Ids
    from biocl.objectives.misaligned import misaligned

    torch.manual_seed(0)
    encoder = build_encoder(TPNSpec(name="tpn"), n_chans=N_CHANS, n_times=args.n_times, sfreq=50.0)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-4)
    x = moving(args.batch, args.devices, args.n_times)
    place, nothing = torch.arange(args.batch), torch.zeros(args.batch, dtype=torch.int64)
    length = torch.full_like(place, args.n_times)
    ids = Ids(nothing, nothing, nothing, place * args.n_times, length, nothing)
    generator = torch.Generator().manual_seed(0)
    rounds: list[list[float]] = []
    for repetition in range(args.repetitions + 1):
        marks = [time.process_time()]

        def mark(marks: list[float] = marks) -> None:
            marks.append(time.process_time())

        choice = select(x, 0)
        mark()
        (rows,) = misaligned(ids, within="patient", n=1, generator=generator)
        mark()
        latents = encoder(x.reshape(-1, N_CHANS, args.n_times))
        assert isinstance(latents, torch.Tensor)
        z = torch.nn.functional.normalize(latents.amax(dim=1), dim=1).view(args.batch, args.devices, -1).transpose(0, 1)
        attraction = ((z[0] * z[choice.positives]).sum(dim=2) / 0.05).T + choice.w_p.log()
        repulsion = ((z[0] * z[choice.negatives][:, rows]).sum(dim=2) / 0.05).T + choice.w_n.log()
        loss = (torch.cat([attraction, repulsion], dim=1).logsumexp(dim=1) - attraction.logsumexp(dim=1)).mean()
        mark()
        optimiser.zero_grad()
        loss.backward()
        mark()
        optimiser.step()
        mark()
        if repetition > 0:  # the first is warm-up
            rounds.append([after - before for before, after in pairwise(marks)])
    print(
        f"torch {torch.__version__}, one thread; {args.devices} devices, {args.batch} windows x {N_CHANS} channels x "
        f"{args.n_times} samples"
    )
    print(f"processor time of a step: median {statistics.median(map(sum, rounds)):.2f} s")
    for number, part in enumerate(PARTS):
        print(f"{part:18} {statistics.median(one[number] / sum(one) for one in rounds):6.1%}")
    share = statistics.median(one[0] / sum(one) for one in rounds)
    print(f"target: selection at most {TARGET:.0%} of a step: {'met' if share <= TARGET else 'MISSED'}")


def report_growth(args: argparse.Namespace) -> None:
    """Median time of the selection for more devices over that for two, in the same round."""
    counts = (2, 4, 8, 16)
    batches = {n: moving(args.batch, n, args.n_times) for n in counts}
    seconds: dict[int, list[float]] = {n: [] for n in counts}
    for repetition in range(args.repetitions + 1):
        for n, x in batches.items():
            begin = time.process_time()
            select(x, 0)
            if repetition > 0:
                seconds[n].append(time.process_time() - begin)
    print("devices  selection, times that of 2  (comparisons with the anchor, times that of 2)")
    for n, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(values, seconds[2], strict=True))
        print(f"{n:7}  {ratio:6.2f}                      ({n - 1})")


if __name__ == "__main__":
    main()
