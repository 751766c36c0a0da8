"""GRAM: the volume that the devices of a moment span."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from biocl.objectives.criteria.devices import Devices, counts, devices, masked_log_sum_exp, mean_of, paired
from biocl.objectives.criteria.scores import full_precision, unit

SMALLEST = 1e-12  # of a determinant: the square root has an infinite slope at 0, where matched samples lie


def gram_volume(vectors: Tensor) -> Tensor:
    """Volume of the parallelotope that k unit vectors span, ``sqrt(det(M Mᵀ))``, between 0 and 1.

    For two vectors ``sqrt(1 − cos²)``. It does not see signs (a and −a are as good), and it is 0 whenever the
    vectors are linearly dependent, for instance in one plane, though far apart: 0 does not mean aligned.
    Never below 1e-6, where its gradient is cut to zero.

    Parameters
    ----------
    vectors : Tensor, shape (..., k, D)
        Of any length.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        u = unit(full_precision(vectors))
        return _root(_determinant(u @ u.mT))


def gram(
    z: Tensor,
    *,
    temperature: float | Tensor = 0.07,
    smoothing: float = 0.1,
    anchor: int | None = 0,
    companion: float = 0.5,
    present: Tensor | None = None,
    ignore: Tensor | None = None,
) -> tuple[Tensor, dict[str, int]]:
    """Small volume for the devices of one moment, large for an anchor device among those of another.

    With V_ij the volume of sample i's anchor device and sample j's others,
    ``½ [ CE(−V/τ, i) + CE(−Vᵀ/τ, i) ]`` plus `companion` times the mean symmetric InfoNCE over pairs of
    devices. The volume alone has two limits that the companion mends: it ignores signs, so opposite
    latents count as matched, and it is 0 for any linearly dependent latents, aligned or not.

    Determinants are polynomials of cosines, without eigenvalues or inverses: the gradient is finite where
    samples match. O(B²V²) once the B small matrices between the other devices have their cofactors.

    Parameters
    ----------
    z : Tensor, shape (V, B, D)
    temperature : float or Tensor
        A tensor may be learned.
    smoothing : float
        Label smoothing of the volume's cross entropy.
    anchor : int, optional
        The anchor's place among the devices; None for the mean over every device as the anchor, of those with which
        any sample is compared.
    companion : float
        0 for the published loss.
    present : bool Tensor, shape (B, V), optional
        Volumes of different numbers of vectors say nothing about each other, so a sample is compared with
        those that have the same devices. A sample needs its anchor device and another.
    ignore : bool Tensor, shape (B, B), optional
        Pairs of samples that are not compared; symmetric. The diagonal is not looked at.

    Returns
    -------
    loss : Tensor, shape ()
        A zero attached to the graph if no sample is left, a batch of one included.
    info : dict of str to int
        ``anchors`` that entered the volumes or the companion, and ``skipped`` samples.

    References
    ----------
    Cicchetti et al. 2025, "Gramian Multimodal Representation Learning and Alignment".
    """
    with torch.autocast(z.device.type, enabled=False):
        d = devices(z, present, ignore)
        found = [_contrasted(d, one, temperature, smoothing) for one in (range(len(z)) if anchor is None else [anchor])]
        losses, valid = (torch.stack(column) for column in zip(*found, strict=True))
        loss, entered = mean_of(losses, valid.any(dim=1)), valid.any(dim=0)
        if companion:
            beside, paired_up = _pairwise(d, temperature)
            loss, entered = loss + companion * beside, entered | paired_up
    return loss, counts(entered)


def _contrasted(d: Devices, anchor: int, temperature: float | Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """The volumes' cross entropy in both directions with one anchor device, and the samples that entered, (B,)."""
    volumes, valid = _volumes(d, anchor)
    own = torch.eye(len(valid), dtype=torch.bool, device=valid.device)
    scored = (d.here.T[:, None] == d.here.T).all(dim=2) & valid[:, None]
    if d.ignore is not None:
        scored = scored & (~d.ignore | own)
    valid = valid & (scored & ~own).any(dim=1)
    logits = -volumes / temperature
    both = _smoothed(logits, scored, smoothing) + _smoothed(logits.T, scored, smoothing)
    return mean_of(both / 2, valid), valid


def _volumes(d: Devices, anchor: int) -> tuple[Tensor, Tensor]:
    """Volume of every sample's anchor with every sample's other devices (B, B), and who has enough devices.

    An absent device counts as orthogonal to all, which leaves the volume of the others as it is. With c the
    cosines between anchor and others and K those among the others, det = det K − cᵀ adj(K) c.
    """
    others = [device for device in range(len(d.u)) if device != anchor]
    valid = d.here[anchor] & d.here[others].any(dim=0)
    if not others:
        return d.u.new_zeros(len(valid), len(valid)) * d.u.sum(), valid
    among = torch.einsum("lbd,mbd->blm", d.u[others], d.u[others])
    cross = torch.einsum("id,ljd->ijl", d.u[anchor], d.u[others])
    quadratic = (torch.einsum("ijl,jlm->ijm", cross, _adjugate(_unit_diagonal(among))) * cross).sum(dim=2)
    return _root(_determinant(among) - quadratic), valid


def _unit_diagonal(matrices: Tensor) -> Tensor:
    own = torch.eye(matrices.shape[-1], dtype=torch.bool, device=matrices.device)
    return torch.where(own, torch.ones_like(matrices), matrices)


def _determinant(matrices: Tensor) -> Tensor:
    """Of (..., k, k) cosines, whose diagonal is 1; written out up to three."""
    k = matrices.shape[-1]
    if k == 1:
        return torch.ones_like(matrices[..., 0, 0])
    a = matrices[..., 0, 1]
    if k == 2:
        return 1 - a * a
    if k == 3:
        b, c = matrices[..., 0, 2], matrices[..., 1, 2]
        return 1 + 2 * a * b * c - a * a - b * b - c * c
    return torch.linalg.det(_unit_diagonal(matrices))


def _adjugate(matrices: Tensor) -> Tensor:
    """Cofactors of symmetric (..., k, k) matrices: a polynomial, so it has a gradient where they are singular."""
    k = matrices.shape[-1]
    if k == 1:
        return torch.ones_like(matrices)
    rows = []
    for row in range(k):
        left = matrices[..., [i for i in range(k) if i != row], :]
        minors = [left[..., [j for j in range(k) if j != column]] for column in range(k)]
        rows.append(torch.stack([(-1) ** (row + column) * _minor(m) for column, m in enumerate(minors)], dim=-1))
    return torch.stack(rows, dim=-2)


def _minor(m: Tensor) -> Tensor:
    """Determinant of any (..., k, k) matrices."""
    k = m.shape[-1]
    if k == 1:
        return m[..., 0, 0]
    if k == 2:
        return m[..., 0, 0] * m[..., 1, 1] - m[..., 0, 1] * m[..., 1, 0]
    return torch.linalg.det(m)


def _root(determinant: Tensor) -> Tensor:
    return determinant.clamp(min=SMALLEST).sqrt()


def _smoothed(logits: Tensor, scored: Tensor, smoothing: float) -> Tensor:
    """Cross entropy of every row with its own column, over the columns that are scored, (B,)."""
    kept = logits.masked_fill(~scored, 0)
    average = kept.sum(dim=1) / scored.sum(dim=1).clamp(min=1)
    return masked_log_sum_exp(logits, scored) - (1 - smoothing) * logits.diagonal() - smoothing * average


def _pairwise(d: Devices, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
    """Mean symmetric InfoNCE over the pairs of devices that have samples in common, and those samples, (B,)."""
    losses, found = [], []
    for pair in combinations(range(len(d.u)), 2):
        loss, valid = paired(Devices(d.u[list(pair)], d.here[list(pair)], d.ignore), temperature, "info-nce")
        losses.append(loss)
        found.append(valid)
    if not losses:
        return d.u.new_zeros(()), torch.zeros_like(d.here[0])
    entered = torch.stack(found)
    return mean_of(torch.stack(losses), entered.any(dim=1)), entered.any(dim=0)
