"""scikit-learn estimators on windows in memory: a transformer that pretrains, and a classifier on top of it."""

from biocl.estimators.classifier import BiosignalClassifier as BiosignalClassifier
from biocl.estimators.encoder import BiosignalEncoder as BiosignalEncoder
