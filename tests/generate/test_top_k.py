import pytest
import torch

from transduce.generate.top_k import top_k


@pytest.mark.parametrize("size", [8000, 8192, 2049, 32771])
@pytest.mark.parametrize("k", [1, 2, 5, 31, 40, 100])
def test_it_is_topk(size: int, k: int):
    x = torch.randn(17, size, generator=torch.Generator().manual_seed(size + k))
    values, ids = top_k(x, k)
    torch.testing.assert_close(values, x.topk(k).values, rtol=0, atol=0)
    torch.testing.assert_close(ids, x.topk(k).indices, rtol=0, atol=0)


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_equal_values_and_minus_infinity_give_values_that_are_there(rows: int):
    x = torch.randint(0, 4, (rows, 3001), generator=torch.Generator().manual_seed(0)).float()
    x[x == 0] = -torch.inf
    x[0] = -torch.inf
    x[0, -1] = 1.0  # in the tail
    values, ids = top_k(x, 7)
    torch.testing.assert_close(values, x.topk(7).values)
    torch.testing.assert_close(x.gather(1, ids), values)
    assert all(len(set(row)) == 7 for row in ids.tolist())


@pytest.mark.parametrize("size", [1, 5, 63, 64, 127, 128, 129])
@pytest.mark.parametrize("rows", [1, 600, 9000])
def test_a_vocabulary_of_any_size_will_do(size: int, rows: int):
    x = torch.randn(rows, size, generator=torch.Generator().manual_seed(size))
    values, ids = top_k(x, min(4, size))
    torch.testing.assert_close(values, x.topk(min(4, size)).values, rtol=0, atol=0)
    torch.testing.assert_close(x.gather(1, ids), values, rtol=0, atol=0)
