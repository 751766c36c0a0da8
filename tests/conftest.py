"""Shared fixtures: where the real recordings are, and a home that no test shares with the user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real recordings, or a skip that says how to give it."""
    folder = Path(os.environ.get("BIOCL_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real recordings not found at {folder}: set BIOCL_TEST_DATA to their folder")
    return folder


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a `BIOCL_HOME` of its own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("BIOCL_HOME", str(home))
    return home


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Where everything must be present (``BIOCL_FAIL_ON_SKIP``), a skip is a failure."""
    report = yield
    if report.skipped and os.environ.get("BIOCL_FAIL_ON_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be absent: {report.longrepr}"
    return report
