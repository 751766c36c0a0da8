"""FOCAL: one half of a latent is shared between devices, the other is the device's own."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from biocl.objectives.criteria.devices import Devices, counts, devices, mean_of, paired


def shared_private(z: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second half of the last axis, of even length: what is shared, what is private."""
    shared, private = z.chunk(2, dim=-1)
    return shared, private


def focal(
    z1: Tensor,
    z2: Tensor,
    sequences: Tensor | None = None,
    *,
    weights: tuple[float, float, float, float] = (1.0, 1.0, 3.0, 5.0),
    temperature: float = 0.5,
    margin: float = 1.0,
    present: Tensor | None = None,
    ignore: Tensor | None = None,
) -> tuple[Tensor, dict[str, int]]:
    """Shared halves agree between devices, private ones between views; both are orthogonal; near is close.

    The weighted sum of `focal_shared` and `focal_orthogonality` of both views, `focal_private` between them,
    and `temporal_ranking` of both views' whole latents. As published each is a sum over devices or pairs of
    them, so more devices weigh the pairs more.

    Parameters
    ----------
    z1, z2 : Tensor, shape (V, B, 2 * D)
        Latents of two random views of each window, on V devices.
    sequences : int Tensor, shape (B,), optional
        Which windows follow each other in one stretch of a recording; without it there is no ranking.
    weights : tuple of float
        Shared, private, orthogonality, ranking.
    temperature : float
        Published: 0.07 or 0.5, by encoder.
    margin : float
        By how much windows of other sequences must be farther away.
    present : bool Tensor, shape (B, V), optional
        Every part is a mean over the windows that have its devices.
    ignore : bool Tensor, shape (B, B), optional
        Pairs of windows that are no negatives; symmetric. As published, only windows at the same place of
        their sequences are compared: ignore the others, in any case those of the same sequence.

    Returns
    -------
    loss : Tensor, shape ()
        A zero attached to the graph where nothing can be compared.
    info : dict of str to int
        ``anchors``, and ``skipped`` windows without any device.

    References
    ----------
    Liu et al. 2023, "FOCAL: Contrastive Learning for Multimodal Time-Series Sensing Signals in Factorized
    Orthogonal Latent Space".
    """
    (shared1, private1), (shared2, private2) = shared_private(z1), shared_private(z2)
    shared = [focal_shared(one, temperature=temperature, present=present, ignore=ignore) for one in (shared1, shared2)]
    parts = [
        shared[0] + shared[1],
        focal_private(private1, private2, temperature=temperature, present=present, ignore=ignore),
        focal_orthogonality(shared1, private1, present) + focal_orthogonality(shared2, private2, present),
    ]
    if sequences is not None:
        ranking = [temporal_ranking(z, sequences, margin=margin, present=present) for z in (z1, z2)]
        parts.append(ranking[0] + ranking[1])
    loss = torch.stack([weight * part for weight, part in zip(weights, parts, strict=False)]).sum()
    here = torch.ones(z1.shape[1], dtype=torch.bool, device=z1.device) if present is None else present.any(dim=1)
    return loss, counts(here)


def focal_shared(
    shared: Tensor, *, temperature: float = 0.5, present: Tensor | None = None, ignore: Tensor | None = None
) -> Tensor:
    """NT-Xent between the shared halves of every pair of devices, summed over the pairs.

    Parameters
    ----------
    shared : Tensor, shape (V, B, D)
    temperature, present, ignore
        As for `focal`. Windows without both devices of a pair, or without a negative, do not enter its mean.
    """
    with torch.autocast(shared.device.type, enabled=False):
        d = devices(shared, present, ignore)
        losses = [
            paired(Devices(d.u[[one, other]], d.here[[one, other]], ignore), temperature, "nt-xent")[0]
            for one, other in combinations(range(len(d.u)), 2)
        ]
        return torch.stack(losses).sum() if losses else d.u[:, :0].sum()


def focal_private(
    private1: Tensor,
    private2: Tensor,
    *,
    temperature: float = 0.5,
    present: Tensor | None = None,
    ignore: Tensor | None = None,
) -> Tensor:
    """NT-Xent between two views of the private half of each device, summed over devices.

    Parameters
    ----------
    private1, private2 : Tensor, shape (V, B, D)
    temperature, present, ignore
        As for `focal`.
    """
    with torch.autocast(private1.device.type, enabled=False):
        first, second = devices(private1, present, ignore), devices(private2, present, ignore)
        losses = [
            paired(
                Devices(torch.stack([first.u[v], second.u[v]]), first.here[v].expand(2, -1), ignore),
                temperature,
                "nt-xent",
            )[0]
            for v in range(len(first.u))
        ]
        return torch.stack(losses).sum()


def focal_orthogonality(shared: Tensor, private: Tensor, present: Tensor | None = None) -> Tensor:
    """Positive cosines between a device's shared and private half, and between private halves of two devices.

    ``Σ_l mean_i max(0, cos(shared_il, private_il)) + Σ_{l<l'} mean_i max(0, cos(private_il, private_il'))``:
    as published a negative cosine costs nothing.

    Parameters
    ----------
    shared, private : Tensor, shape (V, B, D)
    present : bool Tensor, shape (B, V), optional
    """
    with torch.autocast(shared.device.type, enabled=False):
        s, p = devices(shared, present, None), devices(private, present, None)
        parts = [mean_of((s.u[v] * p.u[v]).sum(dim=1).relu(), s.here[v]) for v in range(len(s.u))]
        for one, other in combinations(range(len(s.u)), 2):
            both = s.here[one] & s.here[other]
            parts.append(mean_of((p.u[one] * p.u[other]).sum(dim=1).relu(), both))
        return torch.stack(parts).sum()


def temporal_ranking(z: Tensor, sequences: Tensor, *, margin: float = 1.0, present: Tensor | None = None) -> Tensor:
    """Windows of one sequence lie closer together than to windows of another, summed over devices.

    With D_st the mean Euclidean distance between the windows of sequences s and t (of a sequence to itself:
    between different windows), ``mean_{s≠t} max(0, D_ss − D_st + margin)``.

    Parameters
    ----------
    z : Tensor, shape (V, B, D)
        Not normalised.
    sequences : int Tensor, shape (B,)
        Equal for windows of one sequence. The number of sequences is read by the host.
    margin : float
    present : bool Tensor, shape (B, V), optional
        A sequence with fewer than two windows on a device is no s, one without any is no t.
    """
    with torch.autocast(z.device.type, enabled=False):
        d = devices(z, present, None, normalise=False)
        place = torch.unique(sequences, return_inverse=True)[1]
        of = torch.nn.functional.one_hot(place).to(d.u.dtype).T
        losses = []
        for latent, here in zip(d.u, d.here, strict=True):
            members = of * here
            size = members.sum(dim=1)
            own = torch.eye(len(of), dtype=torch.bool, device=z.device)
            n_pairs = torch.where(own, size * (size - 1), torch.outer(size, size))
            # Not by way of a matrix product, which loses the distance of near windows.
            distance = torch.cdist(latent, latent, compute_mode="donot_use_mm_for_euclid_dist")
            distance = members @ distance @ members.T / n_pairs.clamp(min=1)
            ranked = (n_pairs.diagonal() > 0)[:, None] & (n_pairs > 0) & ~own
            losses.append(mean_of((distance.diagonal()[:, None] - distance + margin).relu(), ranked))
        return torch.stack(losses).sum()
