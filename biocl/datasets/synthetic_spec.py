"""Configuration keys of the synthetic cohorts."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from biocl.spec import Spec

MOST_CODES = 24  # patients that can have a shortcut of their own, orthogonal to all others


class SyntheticSpec(Spec):
    """A cohort whose truth is known: how large it is and what is planted in it.

    The three sizes are in units of the window-to-window standard deviation of a *cue*: the size of one wave
    of a beat (ECG), or the log amplitude of one channel in one frequency band (EEG, IMU).

    Attributes
    ----------
    kind : {"ecg", "eeg", "imu"}
        Which signal it resembles.
    n_patients : int
        Patients, one recording each.
    n_trials : int
        Trials of each patient, even: half of them of either class, in random order.
    n_samples : int
        Windows of each trial: beats (ECG) or stretches of `SAMPLE_S` seconds (EEG, IMU).
    class_effect : float
        By how many standard deviations d the two classes differ, in each of eight cues.
    patient_signature : float
        Standard deviation over patients of the cues; never along the class effect or a shortcut.
    shortcut : float
        A pattern over all cues that tells the class of a trial, but is every patient's own and orthogonal to
        all others': it serves on a patient seen before and says nothing about a new one. 1 is one and a
        half standard deviations per cue.
    seed : int
        Patient `p` depends on (seed, p) and the sizes above only.
    """

    kind: Literal["ecg", "eeg", "imu"] = "ecg"
    n_patients: int = Field(default=16, ge=2)
    n_trials: int = Field(default=20, ge=2, multiple_of=2)
    n_samples: int = Field(default=10, ge=1)
    class_effect: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    patient_signature: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    shortcut: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def enough_codes(self) -> Self:
        """A shortcut needs a pattern for every patient."""
        if self.shortcut and self.n_patients > MOST_CODES:
            raise ValueError(f"a shortcut serves at most {MOST_CODES} patients, not {self.n_patients}")
        return self
