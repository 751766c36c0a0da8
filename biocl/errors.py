"""Errors a user can act on: one paragraph each (what, where, what to do) and an exit code."""

from __future__ import annotations

from pathlib import Path


class BioclError(Exception):
    """Base of every error that biocl raises on purpose.

    Parameters
    ----------
    what : str
        What is wrong, as a sentence.
    where : str or Path, optional
        File, key path or line.
    fix : str, optional
        What the user can do, as a sentence.
    """

    exit_code = 1

    def __init__(self, what: str, where: str | Path | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(self.paragraph())

    def paragraph(self) -> str:
        """One paragraph: what, where, what to do."""
        parts = [sentence(self.what)]
        if self.where is not None:
            parts.append(f"Where: {self.where}.")
        if self.fix:
            parts.append(sentence(self.fix))
        return " ".join(parts)


def sentence(text: str) -> str:
    """The text with one full stop, or with the question mark it has."""
    text = text.rstrip(".")
    return text if text.endswith("?") else f"{text}."


class UsageError(BioclError):
    """A wrong command or configuration, or a run folder that exists."""

    exit_code = 2


class DataError(BioclError):
    """Unreadable, implausible or missing data, or a full disk."""

    exit_code = 3


class LeakageError(BioclError):
    """A patient on both sides of a patient-independent split, or a test patient seen in training."""

    exit_code = 4


class Interrupted(BioclError):
    """Stopped on request after saving everything that a resume needs."""

    exit_code = 5
