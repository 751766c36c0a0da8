"""Data cards: what is known of a data set, in front matter that is checked, and in prose below it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from biocl.errors import DataError
from biocl.spec import Spec

OWNER = "to be filled in by the owner of the data"
FENCE = "---\n"
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Counts(Spec):
    """How much there is; None where nobody could count."""

    patients: Count | None = None
    recordings: Count | None = None
    windows: Count | None = None
    classes: dict[str, Count] | None = None


class Card(Spec):
    """The front matter of a data card. ::

    name, title, modality, version      what it is called in biocl and elsewhere
    source, licence, citation, access   where it is from, and on which terms
    consent                             what the source says of ethics and consent
    patients, recordings, windows       what `prepare` finds, windows under the data set's default windows;
    classes                             windows of each class; None where nobody could count
    sfreq_hz, channels, devices         of the native files; channels by name, or a number for each kind
    labels                              what each label means
    splits                              published splits, a sentence each
    defects                             what is known to be wrong with the data
    conditioning                        what biocl does to the signals by default
    sample                              counts of a part of the set
    """

    name: Text
    title: Text
    modality: Literal["ecg", "eeg", "imu", "series", "other"]
    version: Text
    source: Text
    licence: Text
    citation: Annotated[list[Text], Field(min_length=1)]
    access: Literal["open", "request", "embedded"]
    consent: Text
    patients: Count | None
    recordings: Count | None
    sfreq_hz: Rate | Annotated[list[Rate], Field(min_length=1)]
    channels: Annotated[list[Text], Field(min_length=1)] | Annotated[dict[str, Count], Field(min_length=1)]
    devices: Annotated[list[Text], Field(min_length=1)]
    labels: dict[str, Text]
    classes: dict[str, Count] | None
    windows: Count | None
    splits: dict[str, Text]
    defects: list[Text]
    conditioning: list[Text]
    sample: Counts | None = None

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_text(cls, version: Any) -> Any:
        if isinstance(version, int | float):
            raise ValueError(f"write it in quotes, '{version}', since it is a name and not a number")
        return version

    @property
    def counts(self) -> Counts:
        """Of the whole set."""
        return Counts(patients=self.patients, recordings=self.recordings, windows=self.windows, classes=self.classes)


def cards_folder() -> Path:
    """Where the cards are: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "data_cards"
    return inside if inside.is_dir() else package.parent / "data_cards"


def card_path(name: str) -> Path:
    """The file of a data set's card."""
    return cards_folder() / f"{name}.md"


def read_card(name: str) -> Card:
    """The card of a registered data set.

    Raises
    ------
    DataError
        If there is none, or it is not what a card has to be; the paragraph names the key.
    """
    path = card_path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The data card of {name} cannot be read ({error})", path, "Install biocl again") from error
    card, _ = parse_card(text, path)
    if card.name != name:
        raise DataError(f"This data card is named {card.name!r}", path, f"Write 'name: {name}'")
    return card


def card_line(name: str, key: str) -> str:
    """What stands behind a key of one line, without reading the whole card; empty if there is none."""
    path = card_path(name)
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8") as lines:
        next(lines, "")
        for line in lines:
            if line == FENCE:
                break
            if line.startswith(f"{key}:"):
                return line.removeprefix(f"{key}:").partition(" #")[0].strip()
    return ""


def parse_card(text: str, where: str | Path) -> tuple[Card, str]:
    """Front matter and prose of a card.

    Raises
    ------
    DataError
        If the front matter is not YAML or not a card, or the prose has no title; up to five mistakes are named.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    fix = "Mend the front matter; `biocl data card STORE` writes one that is right"
    head, fence, prose = text.removeprefix(FENCE).partition(f"\n{FENCE}")
    if not text.startswith(FENCE) or not fence:
        raise DataError("A data card begins with front matter between two lines of ---", where, fix)
    try:
        tree = YAML(typ="safe").load(head)
    except (YAMLError, ValueError) as error:
        raise DataError(f"The front matter is not YAML: {' '.join(str(error).split())}", where, fix) from error
    try:
        card = Card.model_validate(tree)
    except ValidationError as error:
        raise DataError(f"This is not a data card: {'; '.join(mistakes(error))}", where, fix) from error
    if not prose.lstrip().startswith("# "):
        raise DataError("Below the front matter of a data card stand a title (# …) and prose", where, fix)
    return card, prose


def mistakes(error: ValidationError) -> list[str]:
    """The first five complaints of a validation, each with the path of its key."""
    found = []
    for problem in error.errors():
        parts = [str(part) for part in problem["loc"] if not str(part).startswith(("list[", "dict[", "constrained"))]
        message = problem["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
        match problem["type"]:
            case "missing":
                message = "is missing"
            case "extra_forbidden":
                message = "is not a known key"
        found.append(f"{'.'.join(parts)} {message}" if parts else message)
    return list(dict.fromkeys(found))[:5]


def compare(card: Card, found: Mapping[str, Any], *, windows: bool = True) -> list[str]:
    """Say whether a store's counts are those of the card.

    Parameters
    ----------
    card : Card
    found : mapping
        ``patients, recordings, windows, classes`` of a store.
    windows : bool
        Whether windows and classes can be compared: they cannot if the store was conditioned otherwise.

    Returns
    -------
    list of str
        One sentence if all agree, else one for each difference. If patients and recordings are those of the
        part that the card describes as its ``sample``, the rest is compared with that part.
    """
    sample = card.sample
    of_sample = sample is not None and all(
        getattr(sample, key) in (None, found[key]) for key in ("patients", "recordings")
    )
    whole = all(getattr(card, key) == found[key] for key in ("patients", "recordings"))
    expected, whose = (sample, "the part that the card describes") if of_sample and not whole else (card.counts, "")
    assert expected is not None
    keys = ("patients", "recordings", "windows") if windows else ("patients", "recordings")
    pairs = [(key, found[key], getattr(expected, key)) for key in keys if getattr(expected, key) is not None]
    if windows and expected.classes is not None:
        mine = found["classes"]
        names = dict.fromkeys([*expected.classes, *mine])
        pairs += [(f"windows of class {name}", mine.get(name, 0), expected.classes.get(name, 0)) for name in names]
    if not pairs:
        return ["The data card states no counts to compare with."]
    wrong = [f"{what}: {here:,} here, {there:,} in the data card." for what, here, there in pairs if here != there]
    if wrong:
        return wrong
    said = ", ".join(f"{there:,} {what if there != 1 else what[:-1]}" for what, _, there in pairs if what in keys)
    return [f"The counts are those of {whose or 'the data card'}: {said}."]
