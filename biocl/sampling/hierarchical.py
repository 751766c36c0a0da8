"""Batches of patients × trials × samples, re-drawn every epoch."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from biocl.randomness import stream


class Decks(NamedTuple):
    """Windows laid out patient by patient, trial by trial, shuffled on both levels."""

    rows: np.ndarray  # (n_windows,) row numbers in deck order
    trial_first: np.ndarray  # (n_trials,) where a trial begins in `rows`
    trial_size: np.ndarray  # (n_trials,)
    patient_first: np.ndarray  # (n_patients,) a patient's first trial
    patient_size: np.ndarray  # (n_patients,) how many trials a patient has


def hierarchical_batches(
    patient: np.ndarray,
    trial: np.ndarray,
    *,
    n_patients: int,
    n_trials: int,
    n_samples: int,
    seed: int,
    epoch: int,
) -> list[np.ndarray]:
    """One epoch of batches that hold ``n_patients × n_trials × n_samples`` windows each.

    ::

        patient   |------- 3 -------||------- 0 -------||------- 7 -------| ...   n_patients
        trial     |-- 12 --||-- 15 -||-- 1 ---||-- 4 --||-- 30 --||-- 28 -|       n_trials of each
        window     . . . .   . . . .  . . . .   . . . .  . . . .   . . . .        n_samples of each

    Patients are dealt from a deck that is shuffled anew whenever it is used up, so over an epoch all
    appear equally often (±1), however many windows they have, and never twice in a batch. A patient's
    trials, and a trial's windows, are dealt in turn from a deck shuffled once an epoch, so that a small
    patient repeats its windows only after all were used. Inside a batch the windows stand patient by
    patient and trial by trial: a cut into micro-batches keeps positives together.

    Where something is missing: a batch holds all patients when there are fewer than `n_patients`. A patient
    with fewer trials, or trials with fewer windows, than asked is filled up to ``n_trials × n_samples`` with
    the windows that follow in its own decks, in the same trial and then in the next ones; a patient with
    fewer windows than that gives all of them once, and the batch is smaller.

    Parameters
    ----------
    patient, trial : ndarray of int, shape (n_windows,)
        The ids of every window. A trial is the pair of both.
    n_patients, n_trials, n_samples : int
        Patients in a batch, trials of each, windows of each trial.
    seed, epoch : int
        Equal numbers give equal batches in every process; a resume needs nothing else.

    Returns
    -------
    list of ndarray of int64
        Row numbers; ``ceil(n_windows / batch size)`` batches, where the batch size counts the patients
        that exist.
    """
    if len(patient) == 0:
        return []
    rng = stream(seed, "sampling", "hierarchical", epoch)
    decks = shuffled_decks(np.asarray(patient), np.asarray(trial), rng)
    n_present = len(decks.patient_first)
    hand = min(n_patients, n_present)
    n_batches = math.ceil(len(patient) / (hand * n_trials * n_samples))
    who = deal(n_present, hand, n_batches, rng).ravel()

    trials, trial_ok = dealt_in_turn(who, decks.patient_first, decks.patient_size, n_trials)
    visited = trials[trial_ok]
    places, place_ok = dealt_in_turn(visited, decks.trial_first, decks.trial_size, n_samples)

    slot_of_trial = np.repeat(np.arange(len(who)), trial_ok.sum(axis=1))
    slot_of_place = np.repeat(slot_of_trial, place_ok.sum(axis=1))
    places = places[place_ok]
    per_slot = np.bincount(slot_of_place, minlength=len(who))
    chosen = np.split(places, np.cumsum(per_slot)[:-1])
    for slot in np.flatnonzero(per_slot < n_trials * n_samples):
        chosen[slot] = filled_up(chosen[slot], decks, who[slot], n_trials * n_samples)
    return [decks.rows[np.concatenate(chosen[b * hand : (b + 1) * hand])] for b in range(n_batches)]


def shuffled_decks(patient: np.ndarray, trial: np.ndarray, rng: np.random.Generator) -> Decks:
    """Lay the windows out patient by patient, with trials and windows in random order."""
    by_id = np.lexsort((trial, patient))
    starts = changes(patient[by_id], trial[by_id])
    number = np.empty(len(patient), np.int64)  # of the trial, counted in id order
    number[by_id] = np.cumsum(starts) - 1
    trial_key = rng.random(int(starts.sum()))
    rows = np.lexsort((rng.random(len(patient)), trial_key[number], patient))

    trial_first = np.flatnonzero(changes(patient[rows], number[rows]))
    patient_first = np.flatnonzero(changes(patient[rows][trial_first]))
    return Decks(
        rows,
        trial_first,
        np.diff(trial_first, append=len(rows)),
        patient_first,
        np.diff(patient_first, append=len(trial_first)),
    )


def changes(*sorted_ids: np.ndarray) -> np.ndarray:
    """True where any of the ids differs from the row before it, and at the first row."""
    differs = np.zeros(len(sorted_ids[0]), bool)
    differs[:1] = True
    for ids in sorted_ids:
        differs[1:] |= ids[1:] != ids[:-1]
    return differs


def deal(n_cards: int, hand: int, n_hands: int, rng: np.random.Generator) -> np.ndarray:
    """Deal hands from a deck that is shuffled anew when used up; no hand holds a card twice.

    Returns
    -------
    ndarray of int, shape (n_hands, hand)
        ``hand <= n_cards``; every card is dealt equally often, give or take one.
    """
    dealt: list[np.ndarray] = []
    open_hand = np.empty(0, np.int64)  # what the last, unfinished hand holds
    for _ in range(math.ceil(n_hands * hand / n_cards)):
        deck = rng.permutation(n_cards)
        if len(open_hand):
            # The cards that finish the open hand must differ from those it holds.
            fresh = deck[~np.isin(deck, open_hand)][: hand - len(open_hand)]
            deck = np.concatenate([fresh, deck[~np.isin(deck, fresh)]])
        dealt.append(deck)
        rest = (len(open_hand) + n_cards) % hand
        open_hand = deck[n_cards - rest :]
    return np.concatenate(dealt)[: n_hands * hand].reshape(n_hands, hand)


def dealt_in_turn(owner: np.ndarray, first: np.ndarray, size: np.ndarray, hand: int) -> tuple[np.ndarray, np.ndarray]:
    """Cards that each visit of an owner gets when its deck goes round and round.

    Returns
    -------
    cards, ok : ndarray, shape (len(owner), hand)
        Positions ``first[owner] ...``; `ok` is False beyond the owner's deck, so no hand holds a card twice.
    """
    turn = visit_number(owner)
    step = np.arange(hand)
    n = size[owner][:, None]
    cards = first[owner][:, None] + (turn[:, None] * np.minimum(hand, n) + step) % n
    return cards, np.broadcast_to(step, cards.shape) < n


def visit_number(owner: np.ndarray) -> np.ndarray:
    """How many times each entry's owner occurred before it: ``[3, 1, 3, 3] -> [0, 0, 1, 2]``."""
    order = np.argsort(owner, kind="stable")
    starts = np.flatnonzero(changes(owner[order]))
    number = np.empty(len(owner), np.int64)
    number[order] = np.arange(len(owner)) - np.repeat(starts, np.diff(starts, append=len(owner)))
    return number


def filled_up(chosen: np.ndarray, decks: Decks, patient: int, n_wanted: int) -> np.ndarray:
    """Add the patient's own further windows: those that follow the last chosen one in its decks."""
    first = decks.patient_first[patient]
    last = first + decks.patient_size[patient] - 1
    begin, end = decks.trial_first[first], decks.trial_first[last] + decks.trial_size[last]
    others = np.concatenate([np.arange(chosen[-1] + 1, end), np.arange(begin, chosen[-1])])
    others = others[~np.isin(others, chosen)]
    return np.concatenate([chosen, others[: n_wanted - len(chosen)]])
