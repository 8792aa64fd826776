"""The stages of attention: each follows from the one before by its formula, and the last are the model's own logits."""

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.sample import candidates, draw
from transduce.inspect.looking import maps
from transduce.inspect.stages import Stages, stages
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import Model

EVERY = cast("list[type[MixerConfig]]", list(kinds(MixerConfig.folder).values()))
KINDS = [kind for kind in EVERY if not kind.absent]
IDS, SOURCE = [1, 8, 9, 8, 4, 5, 11], [4, 5, 6, 2]
ATTENTION: dict[str, dict[str, Any]] = {
    "gpt2": {"positions": "learned", "residual": "pre-norm", "feedforward": {"kind": "mlp", "activation": "gelu-tanh"}},
    "llama": {
        "positions": "rotary", "residual": "pre-norm", "norm": "rms-norm", "feedforward": "gated",
        "mixer": {"heads": 4, "kv_heads": 2, "bias": False},
    },
    "2017": {"positions": "sinusoidal", "residual": "post-norm"},
    "alibi": {"positions": "alibi", "residual": "pre-norm"},
    "t5": {"positions": "t5", "residual": "pre-norm", "mixer": {"heads": 4, "scale": 1.0}},
    "gemma": {"positions": "rotary", "residual": "pre-norm", "mixer": {
        "heads": 4, "window": 3, "sinks": 1, "softcap": 2.0, "scale": 0.7, "qk_norm": "rms-norm",
    }},
    "near": {"positions": "rotary", "residual": "pre-norm", "mixer": {"heads": 4, "window": 2}},
    "xl": {"positions": "transformer-xl", "residual": "pre-norm"},
}  # fmt: skip


def built(config: Any, **more: Any) -> Any:
    """A model in float64 whose parameters are all drawn, biases and gains too."""
    model: Any = from_data(config, {"width": 16, "layers": 2, "mixer": {"heads": 4}, **more}).build(13).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model.eval()


def names(ids: Any) -> list[str]:
    return [str(i) for i in ids]


def numbers(found: Stages) -> dict[str, Tensor]:
    return {one.name: one.numbers for one in found.stages if one.numbers is not None}


def features(model: Model, source: list[int] | None = None) -> Tensor:
    there = None if source is None else torch.tensor([source])
    layout = None if source is None else dense(1, len(source))
    ids = torch.tensor([IDS])
    with torch.no_grad():
        return model.features(Batch(ids, dense(1, len(IDS)), ids, there, layout))


def same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)


def check_attention(mixer: Any, n: dict[str, Tensor], source: Tensor, head: int, biased: bool) -> None:
    """Queries, keys, values, scores, weights, sum, heads together and projection, from the weights of the mixer."""
    heads, size = mixer.q.out_features // mixer.head_dim, mixer.head_dim
    group = (head - 1) * mixer.k.out_features // mixer.q.out_features
    own, shared = slice((head - 1) * size, head * size), slice(group * size, (group + 1) * size)

    def linear(part: Any, x: Tensor, rows: slice) -> Tensor:
        return x @ part.weight[rows].T + (0 if part.bias is None else part.bias[rows])

    def turned(x: Tensor, norm: Any) -> Tensor:
        x = (x if norm is None else norm(x))[None, :, None]
        return mixer.positions.turn(x, x, dense(1, x.shape[1]).positions)[0][0, :, 0]

    q = turned(linear(mixer.q, n["mixer in"], own), mixer.q_norm)
    if not mixer.positions.scaled:  # else queries are leant towards what all of them prefer
        same(n["query"], q)
    same(n["key"], turned(linear(mixer.k, source, shared), mixer.k_norm))
    same(n["value"], linear(mixer.v, source, shared))
    scores = n["query"] @ n["key"].T * (mixer.scale or size**-0.5)
    scores = scores if mixer.softcap is None else mixer.softcap * torch.tanh(scores / mixer.softcap)
    seen = n["scores"] > -torch.inf
    if not biased:
        same(n["scores"][seen], scores[seen])
    e = n["scores"].exp()
    same(n["softmax"], e / e.sum(-1, keepdim=True))
    same(n["sum"], n["softmax"] @ n["value"])
    same(n["merge"][:, own], n["sum"])
    assert n["merge"].shape[1] == heads * size
    same(n["projection"], F.linear(n["merge"], mixer.out.weight, mixer.out.bias))


@pytest.mark.parametrize("kind", ATTENTION)
@torch.no_grad()
def test_each_stage_follows_from_the_one_before_up_to_the_logits(kind: str) -> None:
    model: Any = built(DecoderConfig, **ATTENTION[kind])
    entered, found, n = None, stages(model, IDS, names), dict[str, Tensor]()
    biased = ATTENTION[kind]["positions"] in ("alibi", "t5", "transformer-xl")
    for layer in (1, 2):
        block = model.stack.blocks[layer - 1]
        mixer, residual, feed = block.mix, block.mix_residual, block.feed
        for head in range(1, 5):
            found = stages(model, IDS, names, mixer=f"layer {layer} mix", head=head)
            n = numbers(found)
            assert (found.heads, found.mixers) == (4, ["layer 1 mix", "layer 2 mix"])
            check_attention(mixer, n, n["mixer in"], head, biased)
            every = {one.name: one.weights for one in maps(model, IDS, names)}
            torch.testing.assert_close(n["softmax"].float(), every[f"layer {layer} mix"][head - 1], atol=1e-6, rtol=0)
        same(n["lookup"], model.embed.weight[torch.tensor(IDS)] * model.embed.scale)
        same(n["embedded"], n["lookup"] + n.get("positions", torch.zeros(())))
        assert ("layer in" in n) == (layer > 1)
        n.setdefault("layer in", n["embedded"])
        same(n["layer in"], n["embedded"] if entered is None else entered)
        if kind == "2017":
            same(n["mixer in"], n["layer in"])
            same(n["added"], residual.norm(n["layer in"] + n["projection"]))
            same(n["layer out"], block.feed_residual.norm(n["added"] + n["feed out"]))
        else:
            same(n["mixer in"], residual.norm(n["layer in"]))
            same(n["added"], n["layer in"] + n["projection"])
            same(n["feed in"], block.feed_residual.norm(n["added"]))
            same(n["layer out"], n["added"] + n["feed out"])
        up = F.linear(n["feed in"], feed.up.weight, feed.up.bias)
        bent = F.silu(feed.gate(n["feed in"])) * up if kind == "llama" else F.relu(up)
        same(n["between"], F.gelu(up, approximate="tanh") if kind == "gpt2" else bent)
        same(n["feed out"], F.linear(n["between"], feed.down.weight, feed.down.bias))
        entered = n["layer out"]
    same(n["hidden states"], model.stack.leave(entered))
    same(n["hidden states"], features(model)[0])
    logits = model.token_head(features(model))[0, -1]
    best = [int(row) for row in found.stages[-2].rows]
    same(n["logits"][:, 0], logits.sort(descending=True).values)
    assert best == logits.argsort(descending=True).tolist()
    same(n["logits"][:, 1], logits.softmax(0)[best])


@torch.no_grad()
def test_a_source_is_read_from_what_the_encoder_wrote() -> None:
    model = built(EncoderDecoderConfig, residual="pre-norm")
    n = numbers(stages(model, IDS, names, SOURCE, "encoder layer 2 mix", 2))
    check_attention(model.encoder.stack.blocks[1].mix, n, n["mixer in"], 2, False)
    written = model.encoder.stack.leave(n["layer out"])
    assert "logits" not in n
    found = stages(model, IDS, names, SOURCE, "decoder layer 2 cross", 3)
    n = numbers(found)
    check_attention(model.decoder.stack.blocks[1].cross, n, written, 3, False)
    assert next(one for one in found.stages if one.name == "scores").columns == names(SOURCE)
    assert next(one for one in found.stages if one.name == "key").rows == names(SOURCE)
    same(n["hidden states"], features(model, SOURCE)[0])
    assert stages(model, IDS, names, SOURCE).mixer == "decoder layer 1 mix"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_any_mixer_has_the_stages_that_it_has(kind: type[MixerConfig]) -> None:
    config = kind.examples()[0]
    for more in (DecoderConfig, EncoderConfig):
        try:
            shape = from_data(more, {"width": 16, "layers": 2, "positions": "none"})
            model = replace(shape, mixer=config).build(13)
        except UserError:
            continue
        found = stages(model, IDS, names, mixer="layer 2 mix")
        n, plain = numbers(found), {one.name: one.text for one in found.stages if one.numbers is None}
        torch.testing.assert_close(n["hidden states"], features(model.eval())[0])
        assert {"lookup", "mixer in", "projection", "added", "layer out", "logits"} <= set(n)
        if kind.kind in ("attention", "unbiased-keys"):
            assert {"query", "key", "value", "scores", "softmax", "sum", "merge"} <= set(n)
        else:
            assert "has no stages of attention" in plain["query, key, value"]
            assert n["map"].shape == (len(IDS), len(IDS))
        assert not any(
            name in vars(part) for part in model.modules() for name in ("forward", "encode", "combine", "add")
        )


@torch.no_grad()
def test_a_number_draws_the_token_in_whose_part_it_falls() -> None:
    model = built(DecoderConfig, positions="learned")
    logits = model.token_head(features(model))[:, -1]
    for config in (GenerateConfig(temperature=0.7), GenerateConfig(temperature=2.0, top_k=5, top_p=0.9)):
        found = stages(model, IDS, names, config=config)
        weights, order = candidates(logits, config)
        drawn = 0.0
        bounds = cast("list[list[float]]", numbers(found)["sampling"].tolist())
        for row, (start, end, share) in zip(found.stages[-1].rows, bounds, strict=True):
            drawn += share
            assert share == pytest.approx(end - start)
            if share:
                at = draw(weights, torch.tensor([[(start + end) / 2]], dtype=torch.float64))
                assert int(at if order is None else order.gather(1, at)) == int(row)
        assert drawn == pytest.approx(1.0)
    assert "likeliest is written" in stages(model, IDS, names).stages[-1].text


def test_what_is_not_there_is_one_sentence() -> None:
    model = built(DecoderConfig)
    with pytest.raises(UserError, match="no mixer `layer 3 mix`; this model has layer 1 mix, layer 2 mix"):
        stages(model, IDS, names, mixer="layer 3 mix")
    with pytest.raises(UserError, match="no head 5; this mixer has 4"):
        stages(model, IDS, names, head=5)
    with pytest.raises(UserError, match="reads no source"):
        stages(model, IDS, names, SOURCE)
