"""The short form in which the tests run every notebook: ``BIOCL_SHORT=1 python notebooks/01-quick-start.py``."""

from __future__ import annotations

import os
from typing import Any


def short(**keys: Any) -> dict[str, Any]:
    """Keys that shorten a run where ``BIOCL_SHORT`` is set, none elsewhere; two underscores stand for a dot."""
    return {key.replace("__", "."): value for key, value in keys.items()} if os.environ.get("BIOCL_SHORT") else {}
