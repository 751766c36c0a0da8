"""Write a data card for a store, and compare a prepared store with the card of its data set."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from biocl.commands.inspect import describe_store
from biocl.commands.prepare import conditioning_for
from biocl.datasets.card import FENCE, OWNER, Card, card_path, compare, parse_card, read_card
from biocl.datasets.registry import DATASETS, find_dataset
from biocl.errors import BioclError, UsageError
from biocl.files import write_text
from biocl.signals.spec import ConditioningSpec
from biocl.store.store import Store

MOST_NOTES = 20
LONGEST_WORD = 24


def is_registered(store: Store) -> bool:
    """Whether this is a data set of biocl's, in the version that its card describes."""
    name = store.meta["dataset"]
    return name in DATASETS and find_dataset(name).version == store.meta["version"]


def as_usual(store: Store) -> bool:
    """Whether a registered data set's store was conditioned as the data set is by default."""
    usual = conditioning_for(find_dataset(store.meta["dataset"]), {})
    return bool(store.meta["conditioning"] == usual.model_dump())


def check_card(store: Store, counts: dict[str, Any] | None = None) -> list[str]:
    """Sentences on how the store's counts compare with its data set's card; none for a user's own data.

    Never an error: a card that is missing or wrong is said as well.
    """
    if not is_registered(store):
        return []
    try:
        card = read_card(store.meta["dataset"])
        return compare(card, describe_store(store) if counts is None else counts, windows=as_usual(store))
    except BioclError as error:
        return [error.paragraph()]


def write_card(store: Store, out: Path | None) -> str:
    """Write the card of a store; without `out`, return it to be printed.

    Raises
    ------
    UsageError
        If the file exists: what its owner filled in must not be lost.
    """
    text = card_of(store)
    if out is None:
        return text.rstrip()
    if out.exists():
        raise UsageError("This file exists, and is left as it is", out, "Choose another name with -o")
    write_text(out, text)
    return f"{out} is the data card of {store.path}"


def card_of(store: Store) -> str:
    """A whole card: of a registered data set its own with the store's counts, else what the store tells."""
    counts = describe_store(store)
    measured = {key: counts[key] for key in ("patients", "recordings", "windows", "classes")}
    path = card_path(store.meta["dataset"])
    if is_registered(store) and path.is_file():
        card, prose = parse_card(path.read_text(encoding="utf-8"), path)
        fields = {**card.model_dump(exclude={"sample"}), **measured}
        if not as_usual(store):
            fields["conditioning"] = conditioning_of(store)
    else:
        fields = {**fields_of(store), **measured}
        prose = prose_of(store)
    text = f"{FENCE}{to_yaml(fields)}{FENCE}{prose}"
    parse_card(text, store.path)  # a card that biocl writes is one that it reads
    return text


def fields_of(store: Store) -> dict[str, Any]:
    """What a store tells of its data; what only the owner knows is marked."""
    meta = store.meta
    rates = store.sfreq
    return {
        "name": meta["dataset"],
        "title": OWNER,
        "modality": meta["modality"] if meta["modality"] in MODALITIES else "other",
        "version": str(meta["version"]),
        "source": OWNER,
        "licence": OWNER,
        "citation": [OWNER],
        "access": "request",
        "consent": OWNER,
        "patients": None,
        "recordings": None,
        "sfreq_hz": rates,
        "channels": [channel.name for channel in store.channels],
        "devices": list(dict.fromkeys(channel.device for channel in store.channels)),
        "labels": dict.fromkeys(store.classes, OWNER),
        "classes": None,
        "windows": None,
        "splits": {name: sentence_on(split) for name, split in store.splits.items()},
        "defects": defects_of(store),
        "conditioning": conditioning_of(store),
    }


MODALITIES = Card.model_fields["modality"].annotation.__args__  # type: ignore[union-attr]


def sentence_on(split: dict[str, Any]) -> str:
    """How many patients a split puts where."""
    fold = split["folds"][0]
    parts = ", ".join(f"{len(fold.get(part, []))} {part}" for part in ("train", "validation", "test"))
    folds = f" in the first of {len(split['folds'])} folds" if len(split["folds"]) > 1 else ""
    return f"scope {split.get('scope', 'patient')}, patients{folds}: {parts}"


def defects_of(store: Store) -> list[str]:
    """What the readers mended or left out, and the owner's own line."""
    notes: dict[str, int] = {}
    for sentences in store.notes:
        for sentence in sentences:
            notes[sentence] = notes.get(sentence, 0) + 1
    said = [f"{sentence} ({number} recordings)" if number > 1 else sentence for sentence, number in notes.items()]
    more = [f"and {len(said) - MOST_NOTES} more such notes"] if len(said) > MOST_NOTES else []
    unknown = [] if store.meta.get("patients_known", True) else ["patients unknown: each record counts as one"]
    return [*unknown, *said[:MOST_NOTES], *more, f"known defects: {OWNER}"]


def conditioning_of(store: Store) -> list[str]:
    """What was done to the signals, a line for each step that is not left out."""
    usual = ConditioningSpec().model_dump()
    done = {key: value for key, value in store.meta["conditioning"].items() if value != usual.get(key)}
    return [f"{key}: {value}" for key, value in done.items()] or ["none: the signals are as they were read"]


def prose_of(store: Store) -> str:
    """Below the front matter: what to add before anybody else uses the data."""
    return (
        f"# {store.meta['dataset']}\n\n"
        f"{len(store)} recordings of {len(store.patient_names)} patients, "
        f"{store.numbers['n_times'].sum() / store.sfreq / 3600:.2f} h in all.\n\n"
        "The counts above were taken from the prepared store. "
        f"What no file can tell is marked '{OWNER}': the title, where and how the data were recorded, the terms of "
        "use, ethics approval and consent, what each label means and who gave it, and known defects. Access stands "
        "at 'request' until the owner says otherwise.\n"
    )


def to_yaml(fields: dict[str, Any]) -> str:
    """Front matter as YAML: lists of words in one line, sentences each in their own."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarstring import SingleQuotedScalarString

    def quoted(value: Any) -> Any:
        # In a line of its own a colon within a word is plain; between braces the reader takes it for a key's.
        return SingleQuotedScalarString(value) if isinstance(value, str) and ":" in value else value

    def styled(value: Any) -> Any:
        if not isinstance(value, dict | list):
            return value
        items = list(value.values() if isinstance(value, dict) else value)
        if isinstance(value, dict):
            shown: CommentedMap | CommentedSeq = CommentedMap(
                {quoted(name): quoted(item) for name, item in value.items()}
            )
        else:
            shown = CommentedSeq([quoted(item) for item in value])
        short = all(not isinstance(item, str) or len(item) <= LONGEST_WORD for item in items)
        (shown.fa.set_flow_style if short else shown.fa.set_block_style)()
        return shown

    yaml = YAML()
    yaml.width = 110
    yaml.indent(sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump({key: styled(value) for key, value in fields.items()}, out)
    return out.getvalue()
