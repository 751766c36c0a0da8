"""The command line's verbs as functions: the same arguments, the same run folders, the same numbers."""

from biocl.api.runs import Evaluation as Evaluation
from biocl.api.runs import Run as Run
from biocl.api.verbs import evaluate as evaluate
from biocl.api.verbs import finetune as finetune
from biocl.api.verbs import prepare as prepare
from biocl.api.verbs import pretrain as pretrain
