"""``MODEL_CARD.md``: what a model is for, what it saw, how it was judged, with the front matter that hubs read."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biocl.evaluation.tables import markdown
from biocl.files import write_text
from biocl.reports.blocks import Block

FENCE = "---\n"
SEAL = re.compile(r"\n<!-- biocl ([0-9a-f]{16}): .*-->\n$")


@dataclass(frozen=True)
class ModelCard:
    """What a card says; nothing of it names a patient.

    Attributes
    ----------
    name, dataset, modality, version : str
    licence : str
        Terms of the data, as their card has them.
    metrics : sequence of (type, words, value)
        For the front matter's ``model-index``.
    task : (type, words)
        Of the ``model-index``.
    uses, data, protocol, caveats, again : sequence of str
        Paragraphs.
    tables : sequence of str
        Markdown.
    """

    name: str
    dataset: str
    modality: str
    version: str
    licence: str
    task: tuple[str, str]
    metrics: Sequence[tuple[str, str, float]]
    uses: Sequence[str]
    data: Sequence[str]
    protocol: Sequence[str]
    tables: Sequence[str]
    caveats: Sequence[str]
    again: Sequence[str]


def front_matter(card: ModelCard) -> dict[str, Any]:
    """The keys that model hubs read; the weights' licence is their owner's to choose."""
    tags = ["biocl", "biosignals", "contrastive-learning", "self-supervised-learning"]
    tags += [] if card.modality in ("", "other") else [card.modality]
    found: dict[str, Any] = {
        "library_name": "biocl",
        "license": "other",
        "license_name": "to-be-chosen-by-the-owner",
        "tags": tags,
        "datasets": [card.dataset],
    }
    if card.metrics:
        found["metrics"] = list(dict.fromkeys(kind for kind, _, _ in card.metrics))
        found["model-index"] = [
            {
                "name": card.name,
                "results": [
                    {
                        "task": {"type": card.task[0], "name": card.task[1]},
                        "dataset": {"type": card.dataset, "name": card.dataset},
                        "metrics": [
                            {"type": kind, "name": words, "value": round(value, 4)}
                            for kind, words, value in card.metrics
                        ],
                    }
                ],
            }
        ]
    return found


def card_text(card: ModelCard) -> str:
    """The card as Markdown, sealed by a hash of itself."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 110
    yaml.indent(sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(front_matter(card), out)
    sections: Mapping[str, Sequence[str]] = {
        "Intended use": card.uses,
        "Data": card.data,
        "Protocol": card.protocol,
        "Results": card.tables,
        "Caveats": card.caveats,
        "How to reproduce": card.again,
    }
    body = [f"# {inert(card.name)}"]
    for title, paragraphs in sections.items():
        body += [f"## {title}", *paragraphs] if paragraphs else []
    text = f"{FENCE}{out.getvalue()}{FENCE}\n" + "\n\n".join(body) + "\n"
    return f"{text}\n<!-- biocl {seal(text)}: written by `biocl report`, which leaves an edited card as it is -->\n"


def seal(text: str) -> str:
    """What tells a card that biocl wrote from one that somebody edited."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def inert(text: str) -> str:
    """A name as Markdown shows it and nothing more: no tag, no link, no emphasis."""
    return re.sub(r"([\\`*\[\]_#|])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def inert_table(block: Block) -> list[str]:
    """A block as Markdown whose cells hold no markup."""
    said = [inert(block.text)] if block.text else []
    return [*said, markdown([cell(name) for name in block.header], [[cell(one) for one in row] for row in block.rows])]


def cell(text: str) -> str:
    """A cell of a table: brackets of intervals stay, links and tags do not work."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("](", "]\\(")
    return re.sub(r"([\\`|])(?!\()", r"\\\1", text)


def write_model_card(card: ModelCard, path: Path) -> bool:
    """Write the card, unless somebody edited the one that is there; whether it was written."""
    if path.exists():
        there = path.read_text(encoding="utf-8", errors="replace")
        found = SEAL.search(there)
        if found is None or seal(there[: found.start()]) != found.group(1):
            return False
    write_text(path, card_text(card))
    return True
