"""Criteria that read every view or device of a window at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from biocl.errors import UsageError
from biocl.objectives import criteria
from biocl.objectives.batch import Ids
from biocl.objectives.criterion_spec import AtOnce, Cocoa, ColloSSL, CroSSL, Focal, Gram, MVInfoNCE
from biocl.objectives.device_selection import (
    Choice,
    choose,
    magnitude_triads,
    magnitudes,
    mmd_between,
    mmd_to_anchor,
)
from biocl.objectives.misaligned import misaligned
from biocl.objectives.pairs import sequences_of
from biocl.signals.devices import devices_of
from biocl.views.signal import SignalInfo

Loss = tuple[Tensor, dict[str, int]]


def at_once_loss(criterion: AtOnce, z: Tensor, *, present: Tensor | None, ignore: Tensor) -> Loss:
    """A criterion that treats all entries alike.

    Parameters
    ----------
    criterion : AtOnce
    z : Tensor, shape (V, B, D)
        What each view or device says of the windows.
    present : bool Tensor, shape (B, V), optional
    ignore : bool Tensor, shape (B, B)
        Pairs of windows that are no negatives of each other.
    """
    temperature: float = criterion.temperature  # type: ignore[attr-defined]
    if isinstance(criterion, MVInfoNCE):
        return criteria.mv_info_nce(
            z, temperature=temperature, denominator=criterion.denominator, present=present, ignore=ignore
        )
    if isinstance(criterion, Cocoa):
        return criteria.cocoa(z, temperature=temperature, present=present, ignore=ignore)
    return criteria.mv_dhel(z, temperature=temperature, present=present, ignore=ignore)


def gram_loss(
    criterion: Gram, z: Tensor, names: Sequence[str], *, anchor: str | None, present: Tensor | None, ignore: Tensor
) -> Loss:
    """GRAM's loss with an anchor among the `names` of the entries, or the mean over every entry as the anchor.

    Parameters are those of `at_once_loss` and `collossl_loss`.

    Raises
    ------
    UsageError
        The entries have fewer features than there are entries, so that every volume is 0.
    """
    n_entries, _, dim = z.shape
    if dim < n_entries:
        raise UsageError(
            f"The volume of {n_entries} vectors of {dim} features is always 0, and gram has nothing to learn from it",
            "terms",
            "Use wider latents or a wider projector, fewer views or devices, or mv-infonce",
        )
    return criteria.gram(
        z,
        temperature=criterion.temperature,
        smoothing=criterion.smoothing,
        anchor=None if anchor is None else list(names).index(anchor),
        companion=criterion.companion,
        present=present,
        ignore=ignore,
    )


def focal_loss(criterion: Focal, z: Tensor, *, ids: Ids, present: Tensor | None, ignore: Tensor) -> Loss:
    """FOCAL's loss of the devices in a first view, and after them of the same devices in a second.

    Parameters
    ----------
    criterion : Focal
    z : Tensor, shape (2 * V, B, D)
    ids : Ids
        Whose trials or recordings are the sequences.
    present : bool Tensor, shape (B, 2 * V), optional
        A device is read where it is there in both views.
    ignore : bool Tensor, shape (B, B)

    Raises
    ------
    UsageError
        The latents have an odd number of features.
    """
    if z.shape[2] % 2:
        raise UsageError(
            f"focal cuts what a device says into two halves, and it has {z.shape[2]} features",
            "terms",
            "Use an even width of the encoder, or project: NAME with an even out_dim",
        )
    first, second = z.chunk(2)
    return criteria.focal(
        first,
        second,
        sequences_of(criterion, ids) if criterion.ranking else None,
        weights=(criterion.shared, criterion.private, criterion.orthogonality, criterion.ranking),
        temperature=criterion.temperature,
        margin=criterion.margin,
        present=None if present is None else torch.stack(present.chunk(2, dim=1)).all(dim=0),
        ignore=ignore,
    )


def crossl_loss(criterion: CroSSL, z: Tensor, join: Callable[[Tensor], Tensor], *, present: Tensor | None) -> Loss:
    """CroSSL's loss of devices that `join` makes one of.

    The masks come from torch's global stream, which the training loop seeds for each term and step.

    Parameters
    ----------
    criterion : CroSSL
    z : Tensor, shape (V, B, D)
    join : callable
        From the aggregate, (B, D) or (B, V * D), to what is compared.
    present : bool Tensor, shape (B, V), optional
    """
    draws = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    there = torch.ones((z.shape[1], z.shape[0]), dtype=torch.bool) if present is None else present.cpu()
    if criterion.hide == "devices":
        keep = criteria.device_masks(there, generator=draws, coverage=criterion.coverage)
    else:
        keep = criteria.entry_masks(there, z.shape[2], generator=draws, coverage=criterion.coverage)
    return criteria.masked_aggregation(
        z,
        keep.to(z.device),
        join,
        how=criterion.join,
        invariance=criterion.invariance,
        variance=criterion.variance,
        covariance=criterion.covariance,
    )


def collossl_loss(
    criterion: ColloSSL,
    z: Tensor,
    names: Sequence[str],
    *,
    anchor: str | None,
    ids: Ids,
    present: Tensor | None,
    x: Tensor,
    signal: SignalInfo | None,
) -> Loss:
    """ColloSSL's loss of an anchor device, or the mean over every device as the anchor.

    The draws come from torch's global stream, which the training loop seeds for each term and step.

    Parameters
    ----------
    criterion : ColloSSL
    z : Tensor, shape (V, B, D)
    names : sequence of V str
        The devices.
    anchor : str, optional
    ids : Ids
    present : bool Tensor, shape (B, V), optional
    x : Tensor, shape (B, n_chans, n_times)
        Signals, for distances between magnitudes.
    signal : SignalInfo, optional
        Whose the channels of `x` are.
    """
    draws = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    compared = signal_magnitudes(x, names, signal) if criterion.by == "magnitude" else z.detach()
    if anchor is None:
        distances = dict(enumerate(mmd_between(compared, present, at_most=criterion.at_most, generator=draws)))
    else:
        number = list(names).index(anchor)
        only = mmd_to_anchor(compared, number, present, at_most=criterion.at_most, generator=draws)
        distances = {number: only}
    found = [of_anchor(criterion, z, one, number, ids, present, draws) for number, one in distances.items()]
    said = [loss for loss, info in found if info["anchors"]]
    counts = {name: sum(info[name] for _, info in found) for name in ("anchors", "skipped")}
    return (torch.stack(said).mean() if said else found[0][0]), counts


def of_anchor(
    criterion: ColloSSL,
    z: Tensor,
    distances: Tensor,
    anchor: int,
    ids: Ids,
    present: Tensor | None,
    draws: torch.Generator,
) -> Loss:
    """The loss of one anchor device, whose `distances` (V,) from all are given."""
    chosen: Choice = choose(criterion.choose, distances, anchor, weights=criterion.weights, generator=draws)
    rows = misaligned(ids, within=criterion.within, n=criterion.n_negatives, generator=draws).to(z.device)
    there = torch.ones(z.shape[:2], dtype=torch.bool, device=z.device) if present is None else present.T
    met = rows.clamp(min=0)
    negative_present = there[chosen.negatives][:, met] & (rows >= 0)
    mine = there[anchor]
    return criteria.collossl(
        z[anchor],
        z[chosen.positives],
        z[chosen.negatives][:, met],
        positive_weights=chosen.w_p,
        negative_weights=chosen.w_n,
        temperature=criterion.temperature,
        sign=criterion.sign,
        positive_present=there[chosen.positives] & mine,
        negative_present=negative_present & mine,
    )


def signal_magnitudes(x: Tensor, names: Sequence[str], signal: SignalInfo | None) -> Tensor:
    """Magnitudes (V, B, n_times) of the named devices' accelerometers, or of their first sensors of three axes.

    Raises
    ------
    UsageError
        A device has no sensor of three axes, or nothing is known of the channels.
    """
    fix = "Set by: embedding in the criterion"
    if signal is None:
        raise UsageError("The distance between devices needs to know which channels are whose", "terms", fix)
    known = {device.name: device for device in devices_of(signal.channels)}
    mine = [known[name] for name in names]
    found = []
    for device in mine:
        channels = [signal.channels[i] for i in device.columns]
        try:
            axes = magnitude_triads([channels])
        except (ValueError, IndexError, StopIteration) as error:
            raise UsageError(
                f"The device {device.name!r} has no sensor with axes x, y and z whose magnitude could be compared",
                "terms",
                fix,
            ) from error
        own = x[:, torch.tensor(device.columns, device=x.device)]
        found.append(magnitudes(own[:, None], axes)[:, 0])
    return torch.stack(found)
