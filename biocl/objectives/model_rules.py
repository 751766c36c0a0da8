"""Which terms fit which encoder: told once the model is built, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from biocl.encoders.encoder import Encoder
from biocl.errors import UsageError
from biocl.objectives.criterion_spec import ColloSSL
from biocl.objectives.device_selection import POLICIES
from biocl.objectives.head_spec import HeadTerm, ReconstructionTerm
from biocl.objectives.spec import Axis, ContrastTerm, ProjectorSpec, Term

if TYPE_CHECKING:
    from biocl.objectives.model import Model


def check_named(model: Model, term: ContrastTerm) -> None:
    """Refuse a term that reads branches or devices which the encoder does not have, or that compares one alone.

    Raises
    ------
    UsageError
    """
    axes: tuple[tuple[Axis, str, str, list[str]], ...] = (
        ("branch", "branches", "dual", list(model.branch_dims)),
        ("device", "devices", "each", list(model.device_dims)),
    )
    for axis, kind, key, has in axes:
        if not term.reads(axis):
            continue
        if not has:
            raise UsageError(
                f"The term {term.title} reads {kind} apart, and this encoder has none",
                "terms",
                f"Use an encoder with {key}:, or leave out across, {kind} and stack",
            )
        read = term.named(axis) or has
        unknown = [name for name in read if name not in has]
        if unknown or (len(read) < 2 and (term.across == axis or axis in term.stack)):
            raise UsageError(
                f"The term {term.title} reads {kind} {', '.join(unknown or read)}, and the encoder has "
                f"{', '.join(has)}",
                "terms",
                f"Name {kind} of an encoder with {key}:, or leave out across, {kind} and stack",
            )
        if axis == "device":
            check_policy(term, len(read))
        if term.read != "vec" and not (isinstance(model.encoder, Encoder) and model.encoder.parts):
            raise UsageError(
                f"The term {term.title} reads the steps of a branch, and each branch of this encoder has its own",
                "terms",
                "Use read: vec, or encoder: {name: cost}, whose branches share them",
            )


def check_widths(model: Model, term: ContrastTerm, projectors: Mapping[str, ProjectorSpec]) -> None:
    """Refuse a term that lays entries of different width side by side.

    Raises
    ------
    UsageError
    """
    for sides in model.comparisons(term):
        widths: dict[str, int] = {}
        for entry in dict.fromkeys(entry for side in sides for entry in side):
            project = term.projector_of(entry.branch, entry.device)
            widths[entry.name] = projectors[project].out_dim if project else model.dims_of(entry)[1]
        if len(set(widths.values())) > 1:
            raise UsageError(
                f"The term {term.title} compares branches of different width: "
                + ", ".join(f"{name} {width}" for name, width in widths.items()),
                "terms",
                "Give each a projector to a common width: project: {BRANCH: NAME, …}",
            )


def check_policy(term: ContrastTerm, n_devices: int) -> None:
    """ColloSSL's choice of devices needs some beside the anchor."""
    if not isinstance(term.criterion, ColloSSL) or term.criterion.choose not in POLICIES:
        return
    least = POLICIES[term.criterion.choose].least + 1
    if n_devices < least:
        raise UsageError(
            f"The term {term.title} chooses devices by {term.criterion.choose}, which needs {least} of them, and there "
            f"are {n_devices}",
            "terms",
            "Use choose: closest-positive-all-negative",
        )


def refuse_steps_of_devices(terms: Sequence[Term]) -> None:
    """Refuse terms over the steps of several devices that differ in number."""
    for term in terms:
        reads = "seq" if isinstance(term, ReconstructionTerm) else getattr(term, "read", "vec")
        if reads != "vec":
            raise UsageError(
                f"The term {term.title} reads steps, and the devices have different numbers of them",
                "terms",
                "Use read: vec, or devices of one rate (encoder.rates)",
            )


def refuse_time_steps(terms: Sequence[Term]) -> None:
    """Refuse terms over time steps for an encoder that has none, or one alone."""
    for term in terms:
        if not isinstance(term, HeadTerm) and (
            term.relation == "same-time-step" or term.read in ("step", "amplitude", "phase")
        ):
            raise UsageError(
                f"The term {term.title} compares time steps, and this encoder does not give several",
                "terms",
                "Use relation: same-sample with read: vec, or another encoder",
            )
