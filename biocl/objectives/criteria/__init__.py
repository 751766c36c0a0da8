"""Criteria: pure functions that score positives against negatives.

Conventions: embeddings are ``(N, D)``, or ``(G, N, D)`` for G independent groups, or ``(V, B, D)`` for V
devices of which ``present (B, V)`` says who is there; masks are boolean ``(N, N)`` with True for the pairs
they name; similarities are cosines unless a function says otherwise; the result is a mean over the anchors
that have a positive, and a zero attached to the graph when none has. Scores and their log-sum-exp are
float32 at least, also under autocast.
"""

from biocl.objectives.criteria.cocoa import cocoa
from biocl.objectives.criteria.collossl import collossl
from biocl.objectives.criteria.comet import comet_id, time_course
from biocl.objectives.criteria.cwcl import cwcl, target_weights
from biocl.objectives.criteria.focal import (
    focal,
    focal_orthogonality,
    focal_private,
    focal_shared,
    shared_private,
    temporal_ranking,
)
from biocl.objectives.criteria.gram import gram, gram_volume
from biocl.objectives.criteria.hierarchy import hierarchical_max
from biocl.objectives.criteria.info_nce import info_nce
from biocl.objectives.criteria.masked_aggregation import aggregate, device_masks, entry_masks, masked_aggregation
from biocl.objectives.criteria.multi_view import mv_dhel, mv_info_nce
from biocl.objectives.criteria.nt_xent import nt_xent
from biocl.objectives.criteria.rank_n_contrast import rank_n_contrast
from biocl.objectives.criteria.sup_con import sup_con, sup_con_views
from biocl.objectives.criteria.supremix import hard_positives, supremix
from biocl.objectives.criteria.vicreg import vicreg

__all__ = [
    "aggregate",
    "cocoa",
    "collossl",
    "comet_id",
    "cwcl",
    "device_masks",
    "entry_masks",
    "focal",
    "focal_orthogonality",
    "focal_private",
    "focal_shared",
    "gram",
    "gram_volume",
    "hard_positives",
    "hierarchical_max",
    "info_nce",
    "masked_aggregation",
    "mv_dhel",
    "mv_info_nce",
    "nt_xent",
    "rank_n_contrast",
    "shared_private",
    "sup_con",
    "sup_con_views",
    "supremix",
    "target_weights",
    "temporal_ranking",
    "time_course",
    "vicreg",
]
