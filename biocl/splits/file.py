"""Split files: JSON that biocl writes and a user may edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from biocl.errors import BioclError, UsageError
from biocl.files import read_json, write_json
from biocl.spec import Spec
from biocl.splits.spec import Patient, Scope
from biocl.splits.split import PARTS, Split, splits_to_json

FORMAT_HINT = "Repair the file: it has a name and folds, each with the patients of train, validation and test"
PartName = Literal["train", "validation", "test"]


class FoldFile(Spec):
    """One fold: patients by part, and what narrows them."""

    fold: int | None = None
    """Its number; default: its place in the file, from 0."""
    repeat: int = Field(default=0, ge=0)
    """Which draw it belongs to, where the whole protocol was drawn several times."""
    train: list[str]
    validation: list[str] = Field(default_factory=list)
    test: list[str] = Field(default_factory=list)
    only: dict[PartName, dict[str, list[str]]] = Field(default_factory=dict)
    intervals: dict[PartName, dict[str, list[list[float]]]] = Field(default_factory=dict)
    trials: dict[PartName, dict[str, list[int]]] = Field(default_factory=dict)


class SplitFile(Spec):
    """A whole split file."""

    format: Literal[1] = 1
    name: str
    scope: Scope = "patient"
    patient: Patient = "patient"
    seed: int = 0
    gap_s: float = Field(default=0.0, ge=0)
    allow_shared: list[str] = Field(default_factory=list)
    marks: list[str] = Field(default_factory=list)
    folds: list[FoldFile] = Field(min_length=1)


def write_splits(splits: Sequence[Split], path: Path) -> None:
    """Write the folds of one protocol; the file appears complete or not at all."""
    write_json(path, splits_to_json(splits))


def read_splits(path: Path) -> list[Split]:
    """Read a split file.

    Raises
    ------
    DataError
        If the file is missing or not JSON.
    UsageError, LeakageError
        If its content is not a split; the paragraph names the file and the key.
    """
    return splits_from_json(read_json(path), path)


def splits_from_json(value: Mapping[str, Any], where: str | Path, kind: type[Split] = Split) -> list[Split]:
    """The folds in the content of a split file; `where` is named in errors, `kind` says what is checked of them."""
    try:
        content = SplitFile.model_validate(dict(value) if isinstance(value, Mapping) else value)
    except ValidationError as error:
        raise UsageError(f"This is not a split: {first_mistake(error)}", where, FORMAT_HINT) from error
    for number, fold in enumerate(content.folds):
        if any(same_fold(fold, other) for other in content.folds[:number]):
            raise UsageError(
                f"Two folds are the same, so their test patients would count twice: number {number} repeats another",
                where,
                "Remove one of them",
            )
    try:
        return [split_of(content, fold, number, kind) for number, fold in enumerate(content.folds)]
    except BioclError as error:
        raise type(error)(error.what, f"{where}, {error.where}", error.fix) from error


def same_fold(one: FoldFile, other: FoldFile) -> bool:
    """Whether two folds differ in nothing but their number."""
    return one.model_copy(update={"fold": 0}) == other.model_copy(update={"fold": 0})


def split_of(content: SplitFile, fold: FoldFile, number: int, kind: type[Split] = Split) -> Split:
    """The split of one fold of a file."""
    for part, recordings in fold.intervals.items():
        for recording, intervals in recordings.items():
            if any(len(interval) != 2 for interval in intervals):
                raise UsageError(f"An interval of recording {recording!r} in {part} is not [start, stop]", content.name)
    return kind(
        name=content.name,
        scope=content.scope,
        parts={part: tuple(getattr(fold, part)) for part in PARTS},
        only={part: {name: tuple(v) for name, v in names.items()} for part, names in fold.only.items()},
        intervals={
            part: {name: tuple((i[0], i[1]) for i in v) for name, v in names.items()}
            for part, names in fold.intervals.items()
        },
        trials={part: {name: tuple(v) for name, v in names.items()} for part, names in fold.trials.items()},
        gap_s=content.gap_s,
        allow_shared=tuple(content.allow_shared),
        marks=tuple(content.marks),
        seed=content.seed,
        fold=number if fold.fold is None else fold.fold,
        patient=content.patient,
        repeat=fold.repeat,
    )


def first_mistake(error: ValidationError) -> str:
    """The first of a validation's complaints, with the path of its key."""
    mistake = error.errors()[0]
    path = ".".join(str(piece) for piece in mistake["loc"])
    return f"{path}: {mistake['msg'][:1].lower()}{mistake['msg'][1:]}" if path else mistake["msg"]
