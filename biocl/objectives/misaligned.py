"""Other moments: for every window of a batch, windows that share no time with it on any device."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from biocl.objectives.batch import Ids
from biocl.objectives.relations import overlap, same_id

Within = Literal["patient", "other-patient", "any"]


def may_meet(ids: Ids, within: Within) -> Tensor:
    """Which pairs of windows may be negatives of each other, bool (B, B).

    Two windows that share a time step of one recording never do, and no window does with itself. A patient who is
    not known (negative id) is neither the same as another nor a different one.
    """
    own = torch.eye(len(ids.recording), dtype=torch.bool, device=ids.recording.device)
    apart = ~(overlap(ids.recording, ids.start, ids.length) | own)
    if within == "any":
        return apart
    same = same_id(ids.patient)
    if within == "patient":
        return apart & same
    known = ids.patient >= 0
    return apart & ~same & known[:, None] & known[None, :]


def misaligned(ids: Ids, *, within: Within, n: int, generator: torch.Generator | None = None) -> Tensor:
    """For every anchor row, `n` rows of the batch at another moment.

    ::

        shuffled rows   3  0  4  1  2         a draw is one rotation of a shuffled batch (within patients, of each
        two on          4  1  2  3  0         patient's rows), so that every row is used once

    All rotations are tried against `may_meet`, and those with the fewest pairs that must not meet are drawn, at
    random among equals. A row whose partner must not meet it gets one drawn evenly from all that may; only a row
    without any gets -1. So a draw is a derangement while rotations of the shuffled order are left that are one: if
    no windows overlap, all within patients and over the batch (rows alone with their patient aside); across
    patients, those between the largest patient's number of rows and the batch less that number.

    Devices of a recording share its clock, so an index serves every device; the same index on another device is a
    negative shifted in time, which is what two devices have. Recordings that were measured at the same time in
    several files must carry one recording id.

    Parameters
    ----------
    ids : Ids
        Of the batch.
    within : {"patient", "other-patient", "any"}
    n : int
        Draws. Without overlaps no anchor gets a row twice, over the batch and within patients, while it has rows left.
    generator : torch.Generator, optional
        Draws are made on its device; from a CPU generator they are the same wherever the batch is.

    Returns
    -------
    Tensor of int64, shape (n, B)
        Row numbers, -1 where there is none.
    """
    device = ids.recording.device
    n_rows = len(ids.recording)
    allowed = may_meet(ids, within)

    def uniform(*shape: int) -> Tensor:
        at = device if generator is None else generator.device
        return torch.rand(shape, generator=generator, device=at).to(device)

    if n_rows < 2:
        return torch.full((n, n_rows), -1, device=device)
    order, first, size = shuffled(ids.patient, within, uniform(2, n_rows))
    place = torch.arange(n_rows, device=device)

    # Partners at all rotations that move every row; a group of g rows has g - 1 of them, and goes through them again.
    step = torch.arange(n_rows - 1, device=device)[None, :]
    beside = 1 + step % (size - 1).clamp(min=1)[:, None]
    partner = first[:, None] + (place[:, None] - first[:, None] + beside) % size[:, None]
    conflict = ~allowed[order[:, None], order[partner]]
    conflicts = torch.zeros((n_rows, n_rows - 1), device=device).index_add_(0, first, conflict.float())
    # Repetitions come last, then rotations by their conflicts; equals in random order.
    rounds = (step // (size - 1).clamp(min=1)[:, None]).float()
    badness = conflicts[first] + rounds * n_rows + 0.5 * uniform(n_rows, n_rows - 1)[first]
    best = badness.argsort(dim=1)[:, torch.arange(n, device=device) % (n_rows - 1)]

    drawn = torch.empty((n, n_rows), dtype=torch.int64, device=device)
    drawn[:, order] = order[partner.gather(1, best)].T
    met = allowed[place, drawn]
    instead = uniform(n, n_rows, n_rows).masked_fill(~allowed, -1).argmax(dim=2)
    return torch.where(met, drawn, instead).masked_fill(~allowed.any(dim=1), -1)


def shuffled(patient: Tensor, within: Within, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows in random order, and of each place the first place and the size of the group that is rotated.

    Unless any window may meet any other, patients stand together, in random order: within patients each is
    rotated by itself; over the whole batch a rotation by the largest patient's size leaves no patient on itself.
    """
    n_rows = len(patient)
    place = torch.arange(n_rows, device=patient.device)
    order = draws[0].argsort()
    whole = torch.zeros_like(place), torch.full_like(place, n_rows)
    if within == "any":
        return order, *whole
    same = patient[:, None] == patient[None, :]
    # The number of a patient is the least of its rows' numbers, which are drawn at random and all differ.
    number = torch.where(same, draws[1].argsort().argsort()[None, :], n_rows).amin(dim=1)
    order = order[number[order].argsort(stable=True)]
    if within == "other-patient":
        return order, *whole
    together = same[order][:, order]
    return order, together.int().argmax(dim=1), together.sum(dim=1)
