"""Batches and embeddings: what a window gives depends on nothing but the window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from biocl.commands.setup import Cohort, build_model, open_cohort
from biocl.config import load_experiment
from biocl.training.data import embed

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCL_HOME", str(tmp_path_factory.mktemp("home")))
        return open_cohort(load_experiment(Path("demo")))


@pytest.mark.parametrize("change", [["encoder.pool=max"], ["encoder.pool=mean"], ["encoder.segments=4"]])
def test_an_embedding_depends_neither_on_batch_size_nor_on_order(cohort: Cohort, change: list[str]) -> None:
    model = build_model(load_experiment(Path("demo"), change), cohort.windows)
    rows = np.arange(0, 300, 3)
    whole = embed(model, cohort.windows, rows, device=CPU, batch_size=100)
    assert np.allclose(whole, embed(model, cohort.windows, rows, device=CPU, batch_size=7), atol=1e-5)
    order = np.random.default_rng(0).permutation(len(rows))
    assert np.allclose(whole[order], embed(model, cohort.windows, rows[order], device=CPU), atol=1e-5)
    assert model.training


def test_the_vector_is_the_maximum_over_time_of_the_encoder_without_masks(cohort: Cohort) -> None:
    model = build_model(load_experiment(Path("demo")), cohort.windows).eval()
    rows = np.arange(10)
    x = torch.from_numpy(cohort.windows.arrays(rows).copy())
    with torch.no_grad():
        expected = model.encoder(x).amax(dim=1).numpy()
    assert np.allclose(embed(model, cohort.windows, rows, device=CPU), expected, atol=1e-5)


def test_segments_pool_their_own_stretch(cohort: Cohort) -> None:
    model = build_model(
        load_experiment(Path("demo"), ["encoder.segments=3", "encoder.pool=mean"]), cohort.windows
    ).eval()
    rows = np.arange(4)
    x = torch.from_numpy(cohort.windows.arrays(rows).copy())
    with torch.no_grad():
        seq = model.encoder(x).numpy()
    parts = np.array_split(seq, 3, axis=1)
    expected = np.concatenate([part.mean(axis=1) for part in parts], axis=1)
    assert np.allclose(embed(model, cohort.windows, rows, device=CPU), expected, atol=1e-5)


def test_a_batch_carries_the_ids_of_its_rows(cohort: Cohort) -> None:
    rows = np.array([5, 900, 17])
    batch = cohort.windows.batch(rows, CPU)
    table = cohort.windows.table.rows[rows]
    for name in ("recording", "patient", "trial", "start", "length", "label"):
        assert getattr(batch, name).tolist() == table[name].tolist()
    assert batch.x.shape == (3, cohort.windows.n_chans, cohort.windows.n_times)
    assert batch.valid is None
    assert np.array_equal(batch.x.numpy(), cohort.windows.arrays(rows))
    assert batch.target is None
    assert batch.ids.target is None


def test_a_batch_carries_the_targets_of_its_rows(small_cohort: Cohort) -> None:
    numbers = np.where(np.arange(len(small_cohort.windows)) % 3, np.arange(len(small_cohort.windows)), np.nan)
    table = replace(small_cohort.windows.table, target=numbers.astype(np.float32), target_name="age")
    windows = replace(small_cohort.windows, table=table)
    ids = windows.batch(np.array([4, 3, 20]), CPU).ids
    assert ids.target.dtype == torch.float32
    expected = [4, np.nan, 20]
    assert np.array_equal(ids.target.numpy(), expected, equal_nan=True)
    assert np.array_equal(ids.repeated(2).target.numpy(), expected * 2, equal_nan=True)
    assert ids.where(torch.tensor([True, False, True])).target.tolist() == [4, 20]
    assert ids.where(torch.tensor([True, False, True])).start.tolist() == [int(ids.start[0]), int(ids.start[2])]


@pytest.mark.parametrize("change", [["encoder.pool=max"], ["encoder.pool=mean"], ["encoder.segments=3"]])
def test_padding_reaches_no_embedding(cohort: Cohort, change: list[str]) -> None:
    """Pooled step by step over what is signal, in each stretch."""
    rows = cohort.windows.table.rows.copy()
    rows["valid_length"] -= np.arange(len(rows)) % 50
    padded = replace(cohort.windows, table=replace(cohort.windows.table, rows=rows))
    experiment = load_experiment(Path("demo"), change)
    model = build_model(experiment, padded).eval()
    some = np.arange(3, 60, 7)
    with torch.no_grad():
        seq = model.encoder(torch.from_numpy(padded.arrays(some).copy())).numpy()
    expected = []
    for one, row in zip(seq, rows[some], strict=True):
        parts = np.array_split(np.arange(len(one)), experiment.encoder.segments)
        shown = [one[part[part < row["valid_length"]]] for part in parts]
        pool = np.max if experiment.encoder.pool == "max" else np.mean
        nothing = np.zeros(one.shape[1], np.float32)
        expected.append(np.concatenate([pool(part, axis=0) if len(part) else nothing for part in shown]))
    found = embed(model, padded, some, device=CPU)
    assert np.allclose(found, np.stack(expected), atol=1e-5)
    assert not np.allclose(found, embed(model, cohort.windows, some, device=CPU), atol=1e-3)
