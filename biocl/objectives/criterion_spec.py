"""Keys of ``criterion:``, the formula of a contrastive term."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from biocl.spec import Spec

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Width = Annotated[int, Field(ge=1)]


class NTXent(Spec):
    """Normalised-temperature cross entropy: the two views of one item against all other items."""

    name: Literal["nt-xent"]
    """Two views of one item against all other items."""
    similarity: Literal["dot", "cosine"] = "cosine"
    """dot is the raw dot product, as in TS2Vec and COMET."""
    temperature: Positive = 0.1
    """Similarities are divided by it."""


class InfoNCE(Spec):
    """InfoNCE: an item of one view finds its own key in the other, among all keys there and those of a queue."""

    name: Literal["info-nce"]
    """An item of the first view against all items of the second, in one direction (CPC, MoCo)."""
    temperature: Positive = 0.1
    """Similarities are divided by it."""
    symmetric: bool = False
    """Average with the direction from the second view to the first (the CLIP form)."""


class SupCon(Spec):
    """Supervised contrast: every pair of the relation is positive."""

    name: Literal["sup-con"]
    """All pairs of the relation against the rest."""
    temperature: Positive = 0.1
    """Similarities are divided by it."""
    self_pair: Literal["exclude", "positive"] = "exclude"
    """What the two views of one window are to each other."""


class CometId(Spec):
    """COMET's loss over patient or trial ids, as released: order-dependent, self pair in the denominator."""

    name: Literal["comet-id"]
    """COMET's id loss as released."""
    temperature: Positive = 0.1
    """Similarities are divided by it."""


class AtOnce(Spec):
    """A criterion that reads all views, branches or devices of a term at once, rather than two by two."""

    at_once: ClassVar[bool] = True


class MVInfoNCE(AtOnce):
    """InfoNCE over several views or devices: one ratio for each window, all pairs of its views in the numerator."""

    name: Literal["mv-infonce"]
    """InfoNCE over all views or devices of a window at once, one ratio for each window."""
    temperature: Positive = 0.5
    """Similarities are divided by it."""
    denominator: Literal["all", "cross"] = "all"
    """all as released: other windows in the same view or device are negatives too; cross in other ones alone."""


class MVDHEL(AtOnce):
    """Alignment across views or devices, spreading inside each: its cost grows linearly with their number."""

    name: Literal["mv-dhel"]
    """Alignment across all views or devices at once, spreading inside each."""
    temperature: Positive = 0.5
    """Similarities are divided by it."""


class Cocoa(AtOnce):
    """COCOA: pairs of devices of a window against other windows of the same device."""

    name: Literal["cocoa"]
    """All pairs of views or devices of a window against other windows in the same one (COCOA)."""
    temperature: Positive = 0.1
    """Similarities are divided by it."""


class ColloSSL(AtOnce):
    """ColloSSL's multi-view contrastive loss: an anchor device, positives among the nearest devices, negatives at other
    moments."""

    name: Literal["collossl"]
    """An anchor against chosen devices at the same moment and at others (ColloSSL)."""
    temperature: Positive = 0.05
    """Similarities are divided by it."""
    choose: Literal[
        "closest-positive-all-negative",
        "closest-positive-rest-negative",
        "hard-negative",
        "harder-negative",
        "closest-two",
        "random",
    ] = "closest-positive-all-negative"
    """Which devices are positive and which negative, by their distance from the anchor: the nearest and all
    (published), the nearest and the rest, the nearest and the ranks behind it, the two nearest, or by chance."""
    by: Literal["magnitude", "embedding"] = "magnitude"
    """What the distance (MMD) is between: magnitudes of the signals (published), or what the encoder says of them."""
    at_most: Width = 512
    """Windows of a batch from which a distance is computed."""
    weights: Literal["inverse", "none"] = "inverse"
    """inverse divides a negative device's share by its distance, as published; none counts all alike."""
    n_negatives: Width = 1
    """Windows of each negative device for each anchor window."""
    within: Literal["patient", "other-patient", "any"] = "any"
    """Whose other moments are negatives; patient as published."""
    sign: Literal["paper", "released"] = "paper"
    """released is the public code's, whose similarity is minus the cosine, so that it pulls apart what it should pull
    together."""


class ByTarget(Spec):
    """A criterion that compares windows by the distance of their targets (relation near-target)."""

    by_target: ClassVar[bool] = True


class SupReMix(ByTarget):
    """SupReMix: supervised contrast weighted by the distance of targets, against mixtures of embeddings too."""

    name: Literal["supremix"]
    """Near targets against all others, weighted by distance, and against mixtures of embeddings."""
    temperature: Positive = 0.3
    """Similarities are divided by it."""
    reach: Positive = 5.0
    """A positive is mixed of windows whose targets are nearer than this, one below and one above the anchor's; in the
    target's unit."""
    unit: Positive = 1.0
    """The difference of targets that counts as 1: a negative's weight is its distance over this, plus 1."""
    weights: Literal["distance", "none"] = "distance"
    """none weighs all windows alike: without mixtures that is sup-con."""
    share: Annotated[list[Positive], Field(min_length=2, max_length=2)] = [2.0, 8.0]
    """The Beta distribution of the anchor's share in a mixed negative."""
    n_negatives: Annotated[int, Field(ge=0)] = 64
    """Most mixed negatives of an anchor, drawn among its negatives; 0 for none."""
    n_positives: Annotated[int, Field(ge=0)] = 64
    """Most mixed positives of an anchor; 0 for none."""


class RankNContrast(ByTarget):
    """Rank-N-Contrast: each pair against the windows whose targets are as far away, or farther."""

    name: Literal["rnc"]
    """Every pair against the windows whose targets are as far away, or farther (Rank-N-Contrast)."""
    temperature: Positive = 2.0
    """Similarities are divided by it."""
    similarity: Literal["distance", "cosine"] = "distance"
    """distance is minus the Euclidean distance of embeddings of any length, as published."""


class CWCL(ByTarget):
    """Continuously weighted contrast: every pair is as positive as its targets are near."""

    name: Literal["cwcl"]
    """Every pair is as positive as its targets are near."""
    temperature: Positive = 0.1
    """Similarities are divided by it."""
    width: Positive = 5.0
    """A pair's weight is exp(-distance / width), in the target's unit."""


class Gram(AtOnce):
    """GRAM: the views or devices of a window span a small volume, those of different windows a large one."""

    name: Literal["gram"]
    """The volume that all views or devices of a window span, small against that of different windows, with a cosine
    companion (GRAM). Without an anchor, the mean over every one as the anchor."""
    temperature: Positive = 0.07
    """Volumes and similarities are divided by it."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Label smoothing of the volume's cross entropy."""
    companion: NonNegative = 0.5
    """Weight of InfoNCE between every two of them. The volume alone takes opposite latents for equal, and is 0 for any
    that lie in one plane; 0 is the published loss."""


class Focal(AtOnce):
    """FOCAL: half of what a device says is shared with other devices, the other half is its own, in two views."""

    name: Literal["focal"]
    """Shared halves agree between devices, private ones between two views; both halves differ, and windows of one
    sequence lie near each other (FOCAL)."""
    temperature: Positive = 0.5
    """Similarities are divided by it; published .07 or .5, by encoder."""
    shared: NonNegative = 1.0
    """Weight of NT-Xent between the first halves of every two devices in the same view."""
    private: NonNegative = 1.0
    """Weight of NT-Xent between the second halves of a device in the two views."""
    orthogonality: NonNegative = 3.0
    """Weight of positive cosines between a device's two halves, and between the second halves of two devices."""
    ranking: NonNegative = 5.0
    """Weight of the ranking: windows of one sequence are nearer to each other than to those of another."""
    margin: Positive = 1.0
    """By how much windows of another sequence are to be farther away."""
    sequence: Literal["trial", "recording"] = "trial"
    """Windows that belong together in time. They are ranked, and never negatives of each other; a batch needs two of
    some sequence for a ranking, see batch: {kind: hierarchical}."""


class VICReg(Spec):
    """VICReg: two views agree, every feature varies, no two features say the same; there are no negatives."""

    name: Literal["vicreg"]
    """Two views or devices agree, every feature varies over the batch, and no two features say the same (VICReg)."""
    invariance: NonNegative = 25.0
    """Weight of the squared distance between the two."""
    variance: NonNegative = 25.0
    """Weight of how far each feature's standard deviation is below 1."""
    covariance: NonNegative = 1.0
    """Weight of the squared covariances between features."""


class CroSSL(AtOnce):
    """CroSSL: a network joins the devices that a random mask leaves, twice, and VICReg holds the two together."""

    name: Literal["crossl"]
    """Devices are joined by a trained network under two random masks, and the two agree by VICReg (CroSSL)."""
    hide: Literal["devices", "entries"] = "devices"
    """What a mask hides: whole devices, or single entries of their vectors."""
    coverage: Share = 0.5
    """Share that a mask keeps; of the devices that are there, one at least."""
    join: Literal["concatenate", "mean"] = "concatenate"
    """What the network (project:) reads: the devices side by side, zero where hidden or missing, as published; or the
    mean of those kept."""
    invariance: NonNegative = 25.0
    """Weight of the squared distance between the two."""
    variance: NonNegative = 25.0
    """Weight of how far each feature's standard deviation is below 1."""
    covariance: NonNegative = 1.0
    """Weight of the squared covariances between features."""


Criterion = Annotated[
    NTXent
    | InfoNCE
    | SupCon
    | CometId
    | MVInfoNCE
    | MVDHEL
    | Cocoa
    | ColloSSL
    | Gram
    | Focal
    | VICReg
    | CroSSL
    | SupReMix
    | RankNContrast
    | CWCL,
    Field(discriminator="name"),
]


def has_negatives(criterion: Criterion) -> bool:
    """Whether different windows are pushed apart; a criterion without negatives keeps features varied instead."""
    return not isinstance(criterion, VICReg | CroSSL)
