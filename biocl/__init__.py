"""biocl: contrastive pretraining on biosignals, judged on unseen patients."""

__version__ = "0.1.0"
