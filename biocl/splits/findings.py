"""What an audit found: findings, the checks they come from, and how bad each is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

Level = Literal["leak", "warning", "note"]
LEVELS: tuple[Level, ...] = ("leak", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found.

    Attributes
    ----------
    level : {"leak", "warning", "note"}
        ``leak``: a result can be too high for it. ``warning``: results mean something else than they seem to.
        ``note``: to be known, and harmless as things stand.
    who : tuple of str
        The patients, recordings or labels it is about.
    where : str
        The split, fold and parts, the run or the recordings.
    what, fix : str
        What is wrong and what to do, a sentence each.
    """

    level: Level
    who: tuple[str, ...]
    where: str
    what: str
    fix: str

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "level": self.level,
            "who": list(self.who),
            "where": self.where,
            "what": self.what,
            "fix": self.fix,
        }


@dataclass(frozen=True)
class Check:
    """One check: its name, what it looked at, and what it found.

    `skipped` says why there was nothing to look at; then there are no findings.
    """

    name: str
    looked_at: str
    findings: tuple[Finding, ...] = ()
    skipped: str = ""

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.name,
            "looked_at": self.looked_at,
            "skipped": self.skipped,
            "findings": [finding.to_json() for finding in self.findings],
        }


def counted(checks: list[Check]) -> dict[str, int]:
    """Findings of each level."""
    found = [finding.level for check in checks for finding in check.findings]
    return {level: found.count(level) for level in LEVELS}


def names(found: list[str] | tuple[str, ...], most: int = 8) -> str:
    """``a, b, c and 4 more``."""
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def merged(found: list[Finding]) -> tuple[Finding, ...]:
    """Findings that are the same in several folds as one, at the place of the first."""
    groups: dict[tuple[Level, tuple[str, ...], str, str], list[Finding]] = {}
    for finding in found:
        groups.setdefault((finding.level, finding.who, finding.what, finding.fix), []).append(finding)
    return tuple(
        same[0] if len(same) == 1 else replace(same[0], where=f"{same[0].where}, and in {len(same) - 1} more")
        for same in groups.values()
    )
