"""The ridge on frozen latents against scikit-learn's, and the receptive field through data.normalise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from biocl.commands.forecast_cells import forecaster_of, forecasting_term, frozen, save_receptive
from biocl.evaluation.floors_series import ALPHAS, Sums
from biocl.evaluation.forecasters import block_sums, fit_read_out, shown_by
from biocl.evaluation.protocol import UNTRAINED, Cell
from tests.commands.test_forecasts import FIRST_HELD, experiment_of, fold_of, make_store, series

CPU = torch.device("cpu")
MIXED = "encoder={name: dilated-cnn, depth: 2, hidden_dim: 4, embed_dim: 5}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("series") / "store", series())


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("normalise", ["none", "instance"])
def test_the_ridge_is_that_of_scikit_learn_in_the_units_of_the_data(store: Path, apart: bool, normalise: str) -> None:
    from sklearn.linear_model import Ridge

    few = ["variants={}", f"data.normalise={normalise}", *([] if apart else [MIXED])]
    experiment = experiment_of(store, *few, "terms=[{head: forecasting, views: [clean], read: last}]")
    fold = fold_of(experiment)
    term = forecasting_term(experiment)
    assert term is not None
    model, head = frozen(fold, term)
    train, held = fold.parts["train"], fold.parts["validation"]
    read = fit_read_out(model, head, fold.windows, train, held, CPU)
    n_features = 8 if apart else 5
    assert read.coef.shape == (1 if apart else 3, n_features + 1, 12)

    def rows_of(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        batch = fold.windows.batch(rows, CPU)
        with torch.no_grad():
            seen = shown_by(head, model.read(batch.x)).double().numpy()
        assert batch.future is not None
        future = batch.future.double().numpy()
        spread = np.ones((len(rows), 3, 1))
        if batch.level is not None:
            mean, spread = (part.double().numpy() for part in batch.level)
            future = (future - mean) / spread
        return np.broadcast_to(seen, (len(rows), 3, n_features)), future, spread[..., 0]

    seen, future, spread = rows_of(train)
    seen_held, future_held, spread_held = rows_of(held)
    flat = seen.reshape(-1, n_features) if apart else seen[:, 0]
    mean, scale = flat.mean(axis=0), flat.std(axis=0)

    def with_one(values: np.ndarray) -> np.ndarray:
        return np.concatenate([(values - mean) / scale, np.ones((*values.shape[:-1], 1))], axis=-1)

    for number, channels in enumerate([[0, 1, 2]] if apart else [[0], [1], [2]]):
        x, y, w = (part[:, channels].reshape(-1, *part.shape[2:]) for part in (with_one(seen), future, spread))
        x_held, y_held, w_held = (
            part[:, channels].reshape(-1, *part.shape[2:]) for part in (with_one(seen_held), future_held, spread_held)
        )
        fits = {a: Ridge(alpha=a, fit_intercept=False).fit(x, y, sample_weight=w**2) for a in ALPHAS}
        errors = {
            a: float(((fit.predict(x_held) - y_held) ** 2 * w_held[:, None] ** 2).sum()) for a, fit in fits.items()
        }
        best = min(errors, key=lambda a: errors[a])
        assert read.alpha[number] == best
        np.testing.assert_allclose(read.coef[number].numpy(), fits[best].coef_.T, atol=2e-3)


@pytest.mark.parametrize("normalise", ["none", "instance"])
def test_channels_in_groups_give_the_same_maps(store: Path, monkeypatch: pytest.MonkeyPatch, normalise: str) -> None:
    """Of hundreds of channels the sums of all maps would not fit into memory."""
    experiment = experiment_of(store, "variants={}", f"data.normalise={normalise}", MIXED)
    fold = fold_of(experiment)
    term = forecasting_term(experiment)
    assert term is not None
    model, head = frozen(fold, term.model_copy(update={"read": "last"}))
    parts = fold.parts["train"], fold.parts["validation"]
    whole = fit_read_out(model, head, fold.windows, *parts, CPU)
    monkeypatch.setattr("biocl.evaluation.forecasters.MOST_BYTES", 2 * 16 * 6 * (6 + 12))
    sizes = []
    plain = block_sums

    def spy(*given: Any, **more: Any) -> Sums:
        found = plain(*given, **more)
        sizes.append(len(found.yy))
        return found

    monkeypatch.setattr("biocl.evaluation.forecasters.block_sums", spy)
    found = fit_read_out(model, head, fold.windows, *parts, CPU)
    assert set(sizes) == {2, 1}
    assert found.alpha == whole.alpha
    torch.testing.assert_close(found.coef, whole.coef)


def test_a_read_out_that_is_too_wide_is_pooled(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = experiment_of(store, MIXED, "variants={}")
    fold = fold_of(experiment)
    term = forecasting_term(experiment)
    assert term is not None
    assert frozen(fold, term)[1].term.read == "flatten"
    monkeypatch.setattr("biocl.commands.forecast_cells.MOST_FEATURES", 48 * 5 - 1)
    assert frozen(fold, term)[1].term.read == "vec"
    assert frozen(fold, term.model_copy(update={"read": "aligned"}))[1].term.read == "vec"


@pytest.mark.parametrize("normalise", ["none", "last"])
def test_a_linear_forecaster_looks_back_by_its_weights(store: Path, tmp_path: Path, normalise: str) -> None:
    """One patch of the whole window, no block between it and a ridge: the forecast is linear in the window."""
    experiment = experiment_of(store, "variants={}", f"data.normalise={normalise}", MIXED)
    fold = fold_of(experiment)
    forecaster = forecaster_of(fold, Cell(("48to12",), "all", 0, "linear", UNTRAINED))
    weights = torch.randn(3, 48, 12, generator=torch.Generator().manual_seed(0))

    def read(latents: object, batch: object) -> torch.Tensor:
        out = torch.einsum("bct,cth->bch", batch.x, weights)  # type: ignore[attr-defined]
        level = batch.level  # type: ignore[attr-defined]
        return out if level is None else out * level[1] + level[0]

    object.__setattr__(forecaster, "read", read)
    cell = Cell(("48to12",), "all", 0, "linear", UNTRAINED)
    save_receptive(tmp_path, cell, forecaster, fold.parts["test"])
    saved = np.load(tmp_path / cell.file / "field.npz")
    assert saved["steps_ahead"].tolist() == [1, 3, 6, 12]
    whole = weights[..., [0, 2, 5, 11]].clone()
    if normalise == "last":  # the last value is taken out of every step, and put back
        whole[:, -1] -= weights.sum(dim=1)[..., [0, 2, 5, 11]] - 1
    np.testing.assert_allclose(saved["field"], whole.abs().mean(dim=0).T, rtol=1e-4)
    assert (tmp_path / cell.file / "field.png").stat().st_size > 1000
    assert "hours ahead" in (tmp_path / cell.file / "field.svg").read_text()


def test_the_scaler_knows_train_alone(store: Path) -> None:
    fold = fold_of(experiment_of(store))
    train = series()[:FIRST_HELD].astype(np.float64)
    np.testing.assert_allclose(fold.windows.known.mean, train.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(fold.windows.known.std, train.std(axis=0), rtol=1e-5)
