"""biocl: contrastive pretraining on biosignals, judged on unseen patients.

The verbs of the command line are functions here, and mean the same: `prepare`, `pretrain`, `finetune`, `evaluate`;
`Run` opens a run folder. `BiosignalEncoder` and `BiosignalClassifier` are scikit-learn estimators on arrays.

>>> import biocl
>>> run = biocl.pretrain("demo", {"train.steps": 100})  # doctest: +SKIP
>>> biocl.evaluate("demo", from_run=run)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from biocl.api import Evaluation as Evaluation
    from biocl.api import Run as Run
    from biocl.api import evaluate as evaluate
    from biocl.api import finetune as finetune
    from biocl.api import prepare as prepare
    from biocl.api import pretrain as pretrain
    from biocl.estimators import BiosignalClassifier as BiosignalClassifier
    from biocl.estimators import BiosignalEncoder as BiosignalEncoder

__version__ = "0.1.0"

# Where each name lives; looked up when it is first used, so that `import biocl` imports nothing else.
LAZY = {
    **dict.fromkeys(("Evaluation", "Run", "evaluate", "finetune", "prepare", "pretrain"), "biocl.api"),
    **dict.fromkeys(("BiosignalClassifier", "BiosignalEncoder"), "biocl.estimators"),
}


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module 'biocl' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*(name for name in globals() if name.startswith("__")), *LAZY])
