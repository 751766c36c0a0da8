"""Which libraries of encoders the tests find."""

from __future__ import annotations

import importlib
import warnings


def imports(module: str) -> bool:
    """Whether a module imports here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            importlib.import_module(module)
        except (ImportError, RuntimeError, OSError, AttributeError):
            return False
    return True


HAS_BRAINDECODE = imports("braindecode.models")
"""Only beside a torchaudio that matches torch; `.ci/run` makes such an environment."""
