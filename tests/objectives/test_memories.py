"""The queue: first in first out, unit rows, any batch size, all of it in the state."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from biocl.objectives.batch import Ids
from biocl.objectives.memories import COLUMNS, Keys, Queue

DIM = 3


def keys(first: int, n: int) -> Keys:
    """Keys of windows `first`, `first` + 1, …; each id tells which."""
    number = torch.arange(first, first + n)
    rows = F.normalize(torch.stack([(number + 1.0).sin(), (number + 2.0).cos(), number + 1.0], dim=1), dim=1)
    return Keys.of(rows, Ids(*(number + 100 * i for i in range(6))))


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 9), sizes=st.lists(st.integers(0, 12), max_size=8))
def test_the_newest_keys_are_kept_whatever_the_batch_size(size: int, sizes: list[int]) -> None:
    queue, pushed = Queue(size, DIM), 0
    for n in sizes:
        queue.push(keys(pushed, n))
        pushed += n
        known, newest = queue.read(), keys(max(0, pushed - size), min(size, pushed))
        order = known.recording.argsort()
        assert torch.equal(known.keys[order], newest.keys)
        for name in COLUMNS:
            assert torch.equal(getattr(known, name)[order], getattr(newest, name))
        torch.testing.assert_close(known.keys.norm(dim=1), torch.ones(len(known)))


def test_keys_are_detached_and_what_was_read_before_a_push_can_still_go_backward() -> None:
    queue, z = Queue(4, DIM), torch.randn(4, DIM, requires_grad=True)
    queue.push(Keys.of(z, keys(0, 4)))  # type: ignore[arg-type]
    assert not queue.rows.requires_grad
    query = torch.randn(2, DIM, requires_grad=True)
    loss = (query @ queue.read().keys.T).logsumexp(dim=1).sum()
    loss.backward()
    assert query.grad is not None
    assert z.grad is None


@pytest.mark.parametrize("n", [2, 5, 7])
def test_the_state_is_all_there_is(n: int) -> None:
    one, other = Queue(5, DIM), Queue(5, DIM)
    one.push(keys(0, n))
    other.load_state_dict(one.state_dict())
    for queue in (one, other):
        queue.push(keys(n, 2))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    assert one.read().recording.tolist() == other.read().recording.tolist()
    assert not list(one.parameters())
