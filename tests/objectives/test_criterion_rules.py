"""A criterion that does not fit its term is refused, in a sentence that says what would."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from biocl.objectives.spec import ContrastTerm
from biocl.objectives.view_rules import view_refusal
from biocl.views.spec import ViewSpec


def term(name: str, **keys: Any) -> ContrastTerm:
    usual = {"views": ["raw"], "across": "device", "relation": "same-sample", "criterion": {"name": name}}
    return ContrastTerm(**{**usual, **keys})


@pytest.mark.parametrize(
    ("name", "keys", "says"),
    [
        ("gram", {"relation": "same-trial"}, "gram compares whole windows"),
        ("gram", {"across": "view"}, "gram needs two views"),
        ("gram", {"stack": ["view"]}, "gram compares whole windows"),
        ("focal", {"views": ["raw"]}, "in two views, and views names 1"),
        ("focal", {"views": ["a", "b", "c"]}, "in two views, and views names 3"),
        ("focal", {"views": ["a", "b"], "across": "view"}, "focal compares halves of devices: it needs across: device"),
        ("focal", {"views": ["a", "b"], "anchor": "arm"}, "focal treats all alike"),
        ("mv-dhel", {"anchor": "arm"}, "mv-dhel treats all alike"),
        ("crossl", {}, "name one projector"),
        ("crossl", {"project": {"arm": "small"}}, "name one projector"),
        ("crossl", {"project": "join", "across": "branch"}, "crossl hides devices: it needs across: device"),
        ("crossl", {"project": "join", "ignore": ["overlap"]}, "crossl has no negatives"),
        ("vicreg", {"ignore": ["overlap", "label-change"]}, "vicreg has no negatives"),
        ("vicreg", {"stack": ["view"]}, "vicreg compares whole windows"),
        ("vicreg", {"relation": "same-trial"}, "vicreg compares whole windows"),
        ("vicreg", {"across": "view", "read": "seq"}, "vicreg compares whole windows"),
        ("vicreg", {"across": "view"}, "vicreg needs two views"),
        ("sup-con", {}, "sup-con needs relation same-trial or same-patient"),
        ("nt-xent", {"relation": "same-trial"}, "nt-xent knows one positive an item"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        term(name, **keys)
    (error,) = refused.value.errors()
    assert says in error["msg"]


def test_what_fits() -> None:
    for name in ("gram", "vicreg"):
        for across in ("view", "branch", "device"):
            term(name, across=across, views=["a", "b"])
    term("gram", anchor="arm")
    term("vicreg", anchor="arm")
    term("focal", views=["a", "b"], ignore=[])
    term("crossl", project="join", views=["a"])
    term("vicreg", ignore=["label-change"])
    term("vicreg", ignore=[])


@pytest.mark.parametrize("key", ["shared", "private", "orthogonality", "ranking", "temperature"])
def test_weights_are_no_less_than_zero(key: str) -> None:
    with pytest.raises(ValidationError):
        term("focal", views=["a", "b"], criterion={"name": "focal", key: -1})


def test_the_two_views_of_focal_show_one_label() -> None:
    views: Any = {"raw": [], "mirrored": ["reflect"]}
    specs = TypeAdapter(dict[str, ViewSpec]).validate_python(views)
    two = term("focal", views=["raw", "mirrored"])
    assert "reads all views at once with focal" in str(view_refusal(two, specs))
    assert view_refusal(term("focal", views=["raw", "mirrored"], ignore=["same-trial"]), specs) is None
    # VICReg compares two and leaves out the window whose label changed.
    assert view_refusal(term("vicreg", across="view", views=["raw", "mirrored"]), specs) is None
