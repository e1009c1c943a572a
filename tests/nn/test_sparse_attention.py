"""Sparse attention: patterns by hand, and the quick ways equal to the masked slow one."""

import pytest
import torch

from dl101.errors import ShapeError
from dl101.nn import sparse_attention as sparse


def test_patterns_by_hand():
    assert sparse.pattern("full", 3, 2).tolist() == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
    last = {
        name: sparse.pattern(name, 7, 3)[6].nonzero()[:, 0].tolist() for name in sparse.PATTERNS
    }
    assert last == {
        "full": [0, 1, 2, 3, 4, 5, 6],
        "local": [4, 5, 6],
        "dilated": [0, 3, 6],
        "strided": [0, 3, 4, 5, 6],
    }


@pytest.mark.parametrize("n, stride", [(12, 3), (12, 12), (8, 1)])
@pytest.mark.parametrize("name", ["local", "dilated"])
def test_quick_is_equal_to_masked(name, n, stride):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, n, 5, dtype=torch.float64)
    quick = getattr(sparse, f"attend_{name}")(q, k, v, stride)
    torch.testing.assert_close(quick, sparse.attend(q, k, v, sparse.pattern(name, n, stride)))


def test_two_sparse_layers_reach_everything_one_does_not():
    local, dilated = (sparse.pattern(name, 20, 4) for name in ("local", "dilated"))
    full = sparse.pattern("full", 20, 4)
    assert torch.equal(sparse.reached([local, dilated]), full)
    assert not torch.equal(sparse.reached([local]), full)
    assert not torch.equal(sparse.reached([local, local]), full)
    chain = sparse.reached([torch.eye(3).bool(), torch.tensor([[0, 1, 0], [0, 0, 1], [0, 0, 0]])])
    assert chain.nonzero().tolist() == [[0, 1], [1, 2]]


def test_what_does_not_fit_is_refused():
    x = torch.zeros(1, 1, 10, 4)
    for attend in (sparse.attend_local, sparse.attend_dilated):
        with pytest.raises(ShapeError, match="pad to 12"):
            attend(x, x, x, 4)
    with pytest.raises(ShapeError, match="strided"):
        sparse.pattern("sparse", 4, 2)
