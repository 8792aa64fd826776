"""Disentangled attention against its formula pair by pair, its buckets, its shared table, and what stands beside."""

from typing import Any

import pytest
import torch
from torch import Tensor

from transduce.config import from_data, to_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig, LayerConfig
from transduce.model.batch import Batch
from transduce.model.embed.table import TableConfig
from transduce.model.init.init import NormalInit, Sizes
from transduce.model.layout import dense, packed
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.convolution import ConvolutionConfig
from transduce.model.mixers.disentangled import Disentangled, DisentangledConfig
from transduce.model.positions.disentangled import RelativeTable, RelativeTableConfig
from transduce.model.residual.norm_last import PostNormConfig

WIDTH, T = 8, 7


def table(**options: object) -> RelativeTable:
    made = RelativeTableConfig(**options).build(WIDTH, None).for_stack(causal=False)  # type: ignore[arg-type]
    assert isinstance(made, RelativeTable)
    return made


def build(table: RelativeTable, **options: object) -> Disentangled:
    mixer = DisentangledConfig(heads=2, **options).build(WIDTH, table)  # type: ignore[arg-type]
    assert isinstance(mixer, Disentangled)
    NormalInit(std=0.5).apply(mixer, Sizes(WIDTH, 1, 0), seed=0)
    return mixer.double()


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("c2p", "p2c"), [(True, True), (True, False), (False, True)])
def test_pair_by_pair_it_is_the_formula(shared: bool, c2p: bool, p2c: bool) -> None:
    """He et al. 2020, eqs. 3 and 4: distances from -3 to 2 have rows of their own, those beyond have the last one."""
    torch.manual_seed(0)
    mixer, x = build(table(max_distance=3), shared=shared, c2p=c2p, p2c=p2c), torch.randn(T, WIDTH).double()
    q, k, v = (f(x).view(T, 2, 4) for f in (mixer.q, mixer.k, mixer.v))
    assert mixer.positions is not None
    r = mixer.positions.vectors()
    key_of, query_of = (mixer.k, mixer.q) if shared else (mixer.pos_k, mixer.pos_q)
    y = torch.zeros(T, 2, 4, dtype=torch.float64)
    for i in range(T):
        for h in range(2):
            part, scores = slice(4 * h, 4 * h + 4), list[Tensor]()
            for j in range(T):
                row = min(max(i - j, -3), 2) + 3
                score = q[i, h] @ k[j, h]
                score = score + (q[i, h] @ key_of(r[row])[part] if c2p and key_of is not None else 0.0)
                score = score + (k[j, h] @ query_of(r[row])[part] if p2c and query_of is not None else 0.0)
                scores.append(score / (4 * (1 + c2p + p2c)) ** 0.5)
            y[i, h] = torch.stack(scores).softmax(0) @ v[:, h]
    torch.testing.assert_close(mixer.encode(x[None], dense(1, T))[0], mixer.out(y.flatten(1)))


def test_buckets_are_exact_near_by_and_widen_up_to_the_largest_distance() -> None:
    made = table(max_distance=64, buckets=8)
    found = made.bucket(torch.arange(-80, 81))
    assert torch.equal(found, -found.flip(0))
    assert found[80:85].tolist() == [0, 1, 2, 3, 4]  # half of the buckets
    behind = found[80:]
    assert (behind.diff() >= 0).all()
    assert behind[63] == 7
    assert behind.unique_consecutive(return_counts=True)[1][4:-1].diff().gt(0).all()  # the last run is cut off
    assert made.rows(torch.tensor([[0, 80]]), torch.tensor([[80, 0]])).tolist() == [[[0, 8], [8, 15]]]


def test_the_layers_of_a_stack_share_one_table_and_a_decoder_may_have_one() -> None:
    for kind in (EncoderConfig, DecoderConfig):
        config = kind(width=WIDTH, layers=3, mixer=DisentangledConfig(heads=2), positions=RelativeTableConfig())
        names = [name for name, _ in config.build(11).named_parameters() if "positions" in name]
        assert names == [f"stack.blocks.0.mix.positions.{x}" for x in ("weight", "norm.weight", "norm.bias")]


def test_other_attention_has_no_use_for_the_table() -> None:
    with pytest.raises(UserError, match="which attention have none of"):
        EncoderConfig(width=WIDTH, positions=RelativeTableConfig())
    with pytest.raises(UserError, match="leaves nothing to the wider half of buckets=8"):
        RelativeTableConfig(max_distance=5, buckets=8)


def beside(**more: object) -> EncoderConfig:
    convolution = ConvolutionConfig(gated=False, activation="tanh", project=False)
    return EncoderConfig(
        width=WIDTH, layers=(LayerConfig(beside=convolution), LayerConfig()), mixer=AttentionConfig(heads=2), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_mixer_beside_a_layer_reads_what_enters_it_and_joins_what_leaves_it() -> None:
    config = beside(residual=PostNormConfig(dropout=0.0))
    assert from_data(EncoderConfig, to_data(config)) == config
    model = config.build(11).eval()
    block: Any = model.stacks()[0].blocks[0]
    grid = dense(2, T)
    x = torch.randn(2, T, WIDTH)
    y, _ = block(x, grid)
    block.last_reads_entry, block.sublayers = False, block.sublayers[:2]
    without, _ = block(x, grid)
    joined = block.beside_residual.norm(without + block.beside.encode(x, grid))
    torch.testing.assert_close(y, joined)
    ids = torch.randint(0, 11, (1, 12))
    model = config.build(11).eval()
    line = model.features(Batch(ids, packed([[5, 7]], 12), ids))
    torch.testing.assert_close(line[:, :5], model.features(Batch(ids[:, :5], dense(1, 5), ids[:, :5])))
    torch.testing.assert_close(line[:, 5:], model.features(Batch(ids[:, 5:], dense(1, 7), ids[:, 5:])))


def test_beside_needs_a_norm_behind() -> None:
    with pytest.raises(UserError, match="joins behind a layer, but residual=pre-norm; use post-norm"):
        beside().build(11)


def test_the_norm_of_the_embedding_may_stand_behind_its_map() -> None:
    config = EncoderConfig(width=WIDTH, layers=1, embedding=TableConfig(size=6, norm=True, norm_last=True))
    embed = config.build(11).eval().embed  # type: ignore[union-attr]
    assert embed.norm.weight.shape == (WIDTH,)  # type: ignore[union-attr]
    x = embed(torch.randint(0, 11, (2, T)), dense(2, T))  # type: ignore[operator]
    torch.testing.assert_close(x.mean(-1), torch.zeros(2, T), atol=1e-5, rtol=0.0)
    with pytest.raises(UserError, match="norm_last says where"):
        TableConfig(size=6, norm_last=True)
