"""Which devices pull and which push: distances between devices, and policies that choose by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from biocl.signals.recording import Channel
from biocl.views.signal import SignalInfo, triads

BANDWIDTHS = (1e-4, 1e-3, 1e-2, 0.1, 1, 5, 10, 15, 20, 25, 30, 100)
"""Variances of the kernel's summands."""
FLOOR = 1e-4
"""No squared MMD is smaller, so that weights stay finite."""
CHUNK_KERNELS = {"cpu": 2**16, "gpu": 2**26}
"""Kernel values held at once: what stays in a processor's second-level cache, and what keeps a GPU busy."""

Triad = tuple[int, int, int]
PolicyName = Literal[
    "closest-positive-all-negative",
    "closest-positive-rest-negative",
    "hard-negative",
    "harder-negative",
    "closest-two",
    "random",
    "fixed",
]
Weights = Literal["inverse", "none"]


def magnitude_triads(devices: Sequence[Sequence[Channel]]) -> tuple[Triad, ...]:
    """Of each device the axes whose magnitude stands for it: its accelerometer's, else its first sensor's.

    Parameters
    ----------
    devices : sequence of sequences of Channel
        The channels of every device, in the order of its windows.

    Returns
    -------
    tuple of (int, int, int)
        Per device the positions of x, y and z among its channels.

    Raises
    ------
    ValueError
        A device has no accelerometer, gyroscope or magnetometer with axes x, y and z: compare embeddings instead.
    """
    found = []
    for channels in devices:
        (sensors,) = triads(SignalInfo(sfreq=1.0, channels=tuple(channels)))
        found.append(next((triad for triad in sensors if channels[triad[0]].kind == "acc"), sensors[0]))
    return tuple(found)


@torch.no_grad()
def magnitudes(x: Tensor, axes: Sequence[Triad]) -> Tensor:
    """The length of one three-axis sensor's vector at every time step, per device.

    Parameters
    ----------
    x : Tensor, shape (B, V, C, T)
        Windows of V devices. Scaled channel by channel it is no length any more: keep physical units, or divide by
        one constant, since `mmd_to_anchor` has fixed bandwidths.
    axes : sequence of V triads
        From `magnitude_triads`.

    Returns
    -------
    Tensor, shape (B, V, T)
        Not differentiable.
    """
    device = torch.arange(x.shape[1], device=x.device)
    squares = [x[:, device, columns].square_() for columns in torch.as_tensor(axes, device=x.device).T]
    return (squares[0] + squares[1] + squares[2]).sqrt_()


@torch.no_grad()
def mmd_to_anchor(
    m: Tensor,
    anchor: int,
    present: Tensor | None = None,
    *,
    at_most: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Squared maximum mean discrepancy between the anchor device and every other, over the windows of a batch.

    ``mean K(X, X) + mean K(Y, Y) − 2 mean K(X, Y)``, at least 1e-4, with
    ``K(x, y) = Σ_s exp(−‖x − y‖²/2s)`` over the 12 `BANDWIDTHS`; means go over all pairs, a window with itself
    included. It does not depend on the order of the batch, nor on which windows of two devices belong together.

    K(X, X) is computed once for all other devices. Distances are matrix products in float64, kernels are in the
    input's precision (float32 at least) and exist a bounded number at a time. Float64 input gives the formula to
    1e-9, float32 to about 1e-6.

    Parameters
    ----------
    m : Tensor, shape (V, B, D)
        `magnitudes` (transposed), or embeddings, of V devices.
    anchor : int
    present : bool Tensor, shape (B, V), optional
        Two devices are compared over the windows that both have, so that a device which is missing during one
        activity is not far for that reason.
    at_most : int, optional
        Only so many windows, the same of every device, drawn without replacement. As the means include the pairs
        of a window with itself, all distances grow by up to ``24 (1/at_most − 1/B)`` and weights come closer to each
        other; the order of devices stays where they differ by more than the draw. The same holds for a device with
        few windows in common.
    generator : torch.Generator, optional
        For that draw.

    Returns
    -------
    Tensor, shape (V,)
        In the input's precision (float32 at least), not differentiable; 0 at the anchor, and infinite for a device
        that has no window in common with it.

    References
    ----------
    Gretton et al. 2012; Jain et al. 2022, ColloSSL.
    """
    n_devices, n_windows = m.shape[:2]
    m = m.to(torch.promote_types(m.dtype, torch.float32))
    if at_most is not None and at_most < n_windows:
        at = None if generator is None else generator.device
        rows = torch.randperm(n_windows, generator=generator, device=at)[:at_most].to(m.device)
        m, present = m[:, rows], None if present is None else present[rows]
    others = [v for v in range(n_devices) if v != anchor]
    distances = m.new_zeros(n_devices)
    if not others:
        return distances
    x, y = m[anchor : anchor + 1], m[others]
    if present is None:
        share = torch.full((len(others), x.shape[1]), 1 / max(x.shape[1], 1), device=m.device, dtype=torch.float64)
        known = torch.full((len(others),), x.shape[1] > 0, device=m.device)
    else:
        both = (present[:, [anchor]] & present[:, others]).T
        # What is not there may be anything, NaN included, and must not be multiplied by 0.
        x = x.masked_fill(~present[:, anchor, None], 0)
        y = y.masked_fill(~present[:, others].T[:, :, None], 0)
        known = both.any(dim=1)
        share = both.double() / both.sum(dim=1, keepdim=True).clamp(min=1)
    # Far from the origin, squared norms would cancel.
    there = torch.ones(m.shape[1], dtype=torch.bool, device=m.device) if present is None else present[:, anchor]
    middle = x.double().sum(dim=1, keepdim=True) / there.sum().clamp(min=1)
    x64, y64 = x.double() - middle, y.double() - middle
    of_x = share[None] if present is not None else share[None, :1]
    within_x = kernel_means(x64, None, of_x, m.dtype)[0]
    within_y = kernel_means(y64, None, share[:, None], m.dtype)[:, 0]
    across = kernel_means(x64.expand(len(others), -1, -1), y64, share[:, None], m.dtype)[:, 0]
    squared = (within_x + within_y - 2 * across).clamp(min=FLOOR)
    distances[others] = squared.masked_fill(~known, torch.inf).to(m.dtype)
    return distances


@torch.no_grad()
def mmd_between(
    m: Tensor,
    present: Tensor | None = None,
    *,
    at_most: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """`mmd_to_anchor` of every device: K(X, X) once a device and K(X, Y) once a pair, a third of the work for many.

    Parameters are those of `mmd_to_anchor`; one draw of windows serves all.

    Returns
    -------
    Tensor, shape (V, V)
        Symmetric. Row v holds the distances from device v.
    """
    n_devices, n_windows = m.shape[:2]
    m = m.to(torch.promote_types(m.dtype, torch.float32))
    if at_most is not None and at_most < n_windows:
        at = None if generator is None else generator.device
        rows = torch.randperm(n_windows, generator=generator, device=at)[:at_most].to(m.device)
        m, present = m[:, rows], None if present is None else present[rows]
    first, second = torch.triu_indices(n_devices, n_devices, offset=1, device=m.device)
    if present is None:
        there = torch.ones((n_devices, m.shape[1]), dtype=torch.bool, device=m.device)
    else:
        there = present.T
        # What is not there may be anything, NaN included, and must not be multiplied by 0.
        m = m.masked_fill(~there[:, :, None], 0)
    both = there[:, None] & there[None, :]
    known = both.any(dim=2)
    share = both.double() / both.sum(dim=2, keepdim=True).clamp(min=1)
    # Far from the origin, squared norms would cancel.
    z = m.double()
    z = z - (z.sum(dim=(0, 1)) / there.sum().clamp(min=1))
    within = kernel_means(z, None, share if present is not None else share[:, :1], m.dtype).expand(-1, n_devices)
    squared = within + within.T
    across = kernel_means(z[first], z[second], share[first, second][:, None], m.dtype)[:, 0]
    squared[first, second] -= 2 * across
    squared[second, first] -= 2 * across
    return squared.clamp(min=FLOOR).masked_fill(~known, torch.inf).fill_diagonal_(0).to(m.dtype)


def kernel_means(rows: Tensor, columns: Tensor | None, share: Tensor, dtype: torch.dtype) -> Tensor:
    """Weighted means of the kernel over all pairs, ``Σ_ij w_i w_j K(row_i, column_j)``.

    Parameters
    ----------
    rows : Tensor of float64, shape (G, N, D)
    columns : Tensor of float64, shape (G, N, D), or None
        None: the rows themselves, and half of the pairs are enough.
    share : Tensor of float64, shape (G, W, N)
        W weightings of the pairs of each group.
    dtype : torch.dtype
        Of the kernels.

    Returns
    -------
    Tensor of float64, shape (G, W)
    """
    n_groups, n_windows, _ = rows.shape
    others = rows if columns is None else columns
    norms, other_norms = (z.square().sum(dim=2) for z in (rows, others))
    weight = share.to(dtype)
    means = torch.zeros(share.shape[:2], dtype=torch.float64, device=rows.device)
    budget = CHUNK_KERNELS["cpu" if rows.device.type == "cpu" else "gpu"]
    n_rows = max(budget // max(n_windows, 1), 1)
    together = max(n_rows // max(n_windows, 1), 1)
    with torch.autocast(rows.device.type, enabled=False):
        for first in range(0, n_groups, together):
            group = slice(first, first + together)
            for start in range(0, n_windows, n_rows):
                part, rest = slice(start, start + n_rows), slice(start if columns is None else 0, n_windows)
                apart = torch.baddbmm(
                    norms[group, part, None] + other_norms[group, None, rest],
                    rows[group, part],
                    others[group, rest].mT,
                    alpha=-2,
                ).clamp_(min=0)
                if columns is None:
                    apart.diagonal(0, 1, 2).zero_()
                kernels = kernel_sums(apart.to(dtype))
                mine, theirs = weight[group, :, part], weight[group, :, rest]
                total = (mine @ kernels * theirs).sum(dim=2, dtype=torch.float64)
                if columns is None:  # what is right of the square on the diagonal stands below it, too
                    square = mine @ kernels[:, :, : mine.shape[2]] * mine
                    total = 2 * total - square.sum(dim=2, dtype=torch.float64)
                means[group] += total
    return means


def kernel_sums(squared: Tensor) -> Tensor:
    """``Σ_s exp(−squared/2s)`` over all bandwidths, of any shape."""
    total, one = torch.zeros_like(squared), torch.empty_like(squared)
    for variance in BANDWIDTHS:
        # Where an exponential underflows, a processor takes ten times as long; e^-80 adds nothing either.
        total += torch.mul(squared, -0.5 / variance, out=one).clamp_(min=-80).exp_()
    return total


@dataclass(frozen=True)
class Policy:
    """Ranks by distance (0 is the closest) of the positive and of the negative devices."""

    positives: slice
    negatives: slice
    least: int = 1
    """Devices beside the anchor that it needs."""


POLICIES: dict[str, Policy] = {
    "closest-positive-all-negative": Policy(slice(0, 1), slice(None)),
    "closest-positive-rest-negative": Policy(slice(0, 1), slice(1, None), least=2),
    "hard-negative": Policy(slice(0, 1), slice(1, 3), least=2),
    "harder-negative": Policy(slice(3, 4), slice(0, 2), least=4),
    "closest-two": Policy(slice(0, 1), slice(1, 2), least=2),
}


@dataclass(frozen=True)
class Choice:
    """Devices chosen for an anchor, and what they weigh; tensors stay on the device of the distances.

    Attributes
    ----------
    positives, w_p : Tensor of int64 and of float, shape (P,)
    negatives, w_n : Tensor of int64 and of float, shape (N,)
        In ascending order of distance. Weight 0: the device is not there in this batch.
    """

    positives: Tensor
    negatives: Tensor
    w_p: Tensor
    w_n: Tensor


def choose(
    policy: PolicyName,
    distances: Tensor,
    anchor: int,
    *,
    weights: Weights = "inverse",
    generator: torch.Generator | None = None,
    positives: Sequence[int] = (),
    negatives: Sequence[int] = (),
) -> Choice:
    """Positive and negative devices of an anchor.

    ::

        policy                          positives     negatives      (ranks by distance, 0 is the closest)
        closest-positive-all-negative   0             all            as published
        closest-positive-rest-negative  0             1, 2, …
        hard-negative                   0             1, 2
        harder-negative                 3             0, 1
        closest-two                     0             1
        random                          any           any            drawn anew, may be the same; all weights are 1
        fixed                           as given      as given

    Of equally far devices the one with the lower number comes first. Nothing is read back from a GPU.

    Parameters
    ----------
    policy : str
    distances : Tensor, shape (V,)
        From the anchor; infinite where a device is not there. The anchor's own entry is not looked at.
    anchor : int
    weights : {"inverse", "none"}
        Positives weigh 1 and negatives one over their distance (which is 1e-4 at least), then all are divided by
        the largest; or all weigh 1.
    generator : torch.Generator, optional
        For ``random``.
    positives, negatives : sequence of int
        Numbers of the devices for ``fixed``.

    Raises
    ------
    ValueError
        There are fewer devices than the policy needs, a fixed list is empty, or names the anchor or no device.

    References
    ----------
    Jain et al. 2022, ColloSSL.
    """
    if policy not in get_args(PolicyName):
        raise ValueError(f"policy is {policy!r}, not one of {', '.join(get_args(PolicyName))}")
    n_devices = len(distances)
    others = [v for v in range(n_devices) if v != anchor]
    if policy == "fixed":
        for name, numbers in (("positives", positives), ("negatives", negatives)):
            if not numbers or not set(numbers) <= set(others):
                raise ValueError(f"fixed {name} are {list(numbers)}: name devices among {others}")
        pulled, pushed = (torch.tensor(list(named), device=distances.device) for named in (positives, negatives))
        return weighted(pulled, pushed, distances, weights)
    least = 1 if policy == "random" else POLICIES[policy].least
    if len(others) < least:
        raise ValueError(f"{policy} needs {least} devices beside the anchor, there are {len(others)}")
    rank = torch.tensor(others, device=distances.device)
    if policy == "random":
        at = distances.device if generator is None else generator.device
        draws = torch.rand((2, len(others)), generator=generator, device=at).to(distances.device)
        drawn = rank[draws.masked_fill(distances[rank].isinf(), -1).argmax(dim=1)]
        return weighted(drawn[:1], drawn[1:], distances, "none")
    rank = rank[torch.argsort(distances[rank], stable=True)]
    return weighted(rank[POLICIES[policy].positives], rank[POLICIES[policy].negatives], distances, weights)


def weighted(positives: Tensor, negatives: Tensor, distances: Tensor, weights: Weights) -> Choice:
    """A choice with its weights."""
    there = distances.isfinite().to(torch.promote_types(distances.dtype, torch.float32))
    w_p, w_n = there[positives], there[negatives]
    if weights == "inverse":
        w_n = w_n / distances[negatives].clamp(min=FLOOR)
        largest = torch.cat([w_p, w_n]).amax().clamp(min=torch.finfo(w_n.dtype).tiny)
        w_p, w_n = w_p / largest, w_n / largest
    return Choice(positives, negatives, w_p, w_n)
