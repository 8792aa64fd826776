"""The encoder-decoder against torch.nn.Transformer with copied weights, and against a plain float64 formula."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.config import from_data
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense, packed, right_padded
from transduce.model.models import EncoderDecoder, Model
from transduce.objectives.language import TranslationConfig

WIDTH, HEADS, LAYERS, VOCAB = 24, 3, 2, 31


def model(residual: str, seed: int = 0, **more: object) -> EncoderDecoder:
    data = {"width": WIDTH, "layers": LAYERS, "mixer": {"heads": HEADS}, "residual": {"kind": residual, "dropout": 0.0}}
    built = from_data(EncoderDecoderConfig, {**data, **more}).build(VOCAB, seed)
    assert isinstance(built, EncoderDecoder)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():  # biases and norms start at constants, under which some mistakes would not show
        for parameter in built.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return built.eval()


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(0, VOCAB, (3, 7), generator=generator)
    inputs = torch.randint(0, VOCAB, (3, 5), generator=generator)
    layout = right_padded(torch.tensor([5, 3, 4]), 5)
    targets = torch.where(layout.valid, torch.randint(0, VOCAB, (3, 5), generator=generator), -1)
    return Batch(inputs, layout, targets, source, right_padded(torch.tensor([4, 7, 2]), 7))


def copy_attention(theirs: nn.MultiheadAttention, ours: nn.Module) -> None:
    q, k, v = (getattr(ours, name) for name in "qkv")
    theirs.in_proj_weight.data = torch.cat([q.weight, k.weight, v.weight]).detach().clone()
    theirs.in_proj_bias.data = torch.cat([q.bias, k.bias, v.bias]).detach().clone()
    theirs.out_proj.load_state_dict(ours.out.state_dict())  # type: ignore[union-attr]


def torch_transformer(ours: EncoderDecoder, norm_first: bool) -> nn.Transformer:
    """torch.nn.Transformer with our weights; the final norms it always has are there only where ours has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about nested tensors, which need an even number of heads
        layers = {"d_model": WIDTH, "nhead": HEADS, "dim_feedforward": 4 * WIDTH, "dropout": 0.0, "batch_first": True}
        encoder_layer = nn.TransformerEncoderLayer(**layers, norm_first=norm_first)  # type: ignore[arg-type]
        decoder_layer = nn.TransformerDecoderLayer(**layers, norm_first=norm_first)  # type: ignore[arg-type]
        norms = [nn.LayerNorm(WIDTH) if norm_first else None for _ in range(2)]
        encoder = nn.TransformerEncoder(encoder_layer, LAYERS, norms[0])
        decoder = nn.TransformerDecoder(decoder_layer, LAYERS, norms[1])
        theirs = nn.Transformer(
            custom_encoder=encoder, custom_decoder=decoder, batch_first=True, d_model=WIDTH, nhead=HEADS
        )
    for mine, layer in zip(ours.encoder.stack.blocks, encoder.layers, strict=True):
        copy_attention(layer.self_attn, mine.mix)  # type: ignore
        feed(layer, mine.feed)  # type: ignore
        copy_norms(layer, mine)
    for mine, layer in zip(ours.decoder.stack.blocks, decoder.layers, strict=True):
        copy_attention(layer.self_attn, mine.mix)  # type: ignore
        copy_attention(layer.multihead_attn, mine.cross)  # type: ignore
        feed(layer, mine.feed)  # type: ignore
        copy_norms(layer, mine)
    if norm_first:
        encoder.norm.load_state_dict(ours.encoder.stack.leave.state_dict())  # type: ignore[union-attr]
        decoder.norm.load_state_dict(ours.decoder.stack.leave.state_dict())  # type: ignore[union-attr]
    return theirs.eval()


def feed(layer: nn.Module, mine: nn.Module) -> None:
    layer.linear1.load_state_dict(mine.up.state_dict())  # type: ignore[union-attr]
    layer.linear2.load_state_dict(mine.down.state_dict())  # type: ignore[union-attr]


def copy_norms(layer: nn.Module, mine: nn.Module) -> None:
    for i, residual in enumerate(mine.residuals, start=1):  # type: ignore[arg-type]
        getattr(layer, f"norm{i}").load_state_dict(residual.norm.state_dict())


@pytest.mark.parametrize("residual", ["post-norm", "pre-norm"])
def test_equals_torch_nn_transformer(residual: str) -> None:
    ours, b = model(residual), batch()
    theirs = torch_transformer(ours, norm_first=residual == "pre-norm")
    assert b.source is not None
    assert b.source_layout is not None
    pad = ~b.source_layout.valid
    x = ours.encoder.embed(b.source, b.source_layout).detach().requires_grad_()
    y = ours.decoder.embed(b.inputs, b.layout)
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hidden = theirs(x, y, tgt_mask=causal, src_key_padding_mask=pad, memory_key_padding_mask=pad)
    logits = F.linear(hidden, ours.head.weight)
    expected = F.cross_entropy(
        logits.flatten(0, 1), b.targets.flatten(), ignore_index=-1, reduction="sum", label_smoothing=0.1
    )
    torch.testing.assert_close(ours.head(ours.features(b))[b.layout.valid], logits[b.layout.valid], atol=1e-5, rtol=0)

    loss = TranslationConfig(label_smoothing=0.1).build()(ours, b)
    torch.testing.assert_close(loss.total, expected)
    expected.backward()
    loss.total.backward()
    for mine, layer in zip(ours.decoder.stack.blocks, theirs.decoder.layers, strict=True):
        pairs = [(mine.mix, layer.self_attn), (mine.cross, layer.multihead_attn)]  # type: ignore
        for ours_part, theirs_part in pairs:
            fused = torch.cat([ours_part.q.weight.grad, ours_part.k.weight.grad, ours_part.v.weight.grad])
            torch.testing.assert_close(fused, theirs_part.in_proj_weight.grad, atol=1e-5, rtol=0)
            torch.testing.assert_close(ours_part.out.bias.grad, theirs_part.out_proj.bias.grad, atol=1e-5, rtol=0)
        torch.testing.assert_close(mine.feed.up.weight.grad, layer.linear1.weight.grad, atol=1e-5, rtol=0)  # type: ignore
    for mine, layer in zip(ours.encoder.stack.blocks, theirs.encoder.layers, strict=True):
        fused = torch.cat([getattr(mine.mix, n).weight.grad for n in "qkv"])  # type: ignore
        torch.testing.assert_close(fused, layer.self_attn.in_proj_weight.grad, atol=1e-5, rtol=0)


def formula(model: EncoderDecoder, source: list[int], target: list[int], post: bool) -> Tensor:
    """Logits of one pair by the paper's equations, one query at a time, no batch, no mask, no library layer."""
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[name + ".weight"].T + weights[name + ".bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / ((centred**2).mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * weights[name + ".weight"] + weights[name + ".bias"]

    def embed(ids: list[int]) -> Tensor:
        rows = []
        for p, i in enumerate(ids):
            angles = [p / 10_000 ** (2 * (j // 2) / WIDTH) for j in range(WIDTH)]
            place = torch.tensor([math.sin(a) if j % 2 == 0 else math.cos(a) for j, a in enumerate(angles)])
            rows.append(weights["encoder.embed.weight"][i] * math.sqrt(WIDTH) + place)
        return torch.stack(rows).double()

    def attention(x: Tensor, memory: Tensor, name: str, causal: bool) -> Tensor:
        q, k, v = linear(x, name + ".q"), linear(memory, name + ".k"), linear(memory, name + ".v")
        size, out = WIDTH // HEADS, []
        for t in range(len(x)):
            heads = []
            for h in range(HEADS):
                part = slice(h * size, (h + 1) * size)
                seen = slice(0, t + 1) if causal else slice(None)
                weight = torch.softmax(k[seen, part] @ q[t, part] / math.sqrt(size), 0)
                heads.append(weight @ v[seen, part])
            out.append(torch.cat(heads))
        return linear(torch.stack(out), name + ".out")

    def feedforward(x: Tensor, name: str) -> Tensor:
        return linear(linear(x, name + ".up").clamp(min=0), name + ".down")

    def stack(x: Tensor, side: str, memory: Tensor | None) -> Tensor:
        for i in range(LAYERS):
            block = f"{side}.stack.blocks.{i}"
            parts = ["mix", "feed"] if memory is None else ["mix", "cross", "feed"]
            for part in parts:
                name, before = f"{block}.{part}", x
                h = x if post else norm(x, f"{name}_residual.norm")
                if part == "feed":
                    y = feedforward(h, name)
                else:
                    read = memory if part == "cross" else h
                    assert read is not None
                    y = attention(h, read, name, causal=part == "mix" and side == "decoder")
                x = norm(before + y, f"{name}_residual.norm") if post else before + y
        return x if post else norm(x, f"{side}.stack.leave")

    hidden = stack(embed(target), "decoder", stack(embed(source), "encoder", None))
    return hidden @ weights["encoder.embed.weight"].T


@pytest.mark.parametrize("residual", ["post-norm", "pre-norm"])
def test_equals_the_float64_formula(residual: str) -> None:
    ours, b = model(residual).double(), batch()
    assert b.source is not None
    assert b.source_layout is not None
    logits = ours.head(ours.features(b))
    for row in range(3):
        source = b.source[row][b.source_layout.valid[row]].tolist()
        target = b.inputs[row][b.layout.valid[row]].tolist()
        expected = formula(ours, source, target, post=residual == "post-norm")
        # the position table is stored in float32
        torch.testing.assert_close(logits[row, : len(target)], expected, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary", "none"])
@pytest.mark.parametrize("feedforward", ["mlp", "gated"])
def test_step_by_step_equals_parallel_with_beams_side_by_side(positions: str, feedforward: str) -> None:
    more = {
        "positions": positions,
        "feedforward": feedforward,
        "norm": "rms-norm",
        "mixer": {"heads": 4, "kv_heads": 2},
    }
    ours, b = model("pre-norm", **more), batch()
    assert b.source is not None
    assert b.source_layout is not None
    with torch.no_grad():
        expected = ours.features(b)
        memory = ours.remember(b.source, b.source_layout)
        beams, state = 2, ours.init_state(6, 8)  # two equal beams per source; the memory keeps its three rows
        ids = b.inputs.repeat_interleave(beams, 0)
        for t in range(5):
            layout = dense(6, 1, start=t)
            hidden, state = ours.step(ids[:, [t]], layout, state, memory)
            for row in range(3):
                if b.layout.valid[row, t]:
                    torch.testing.assert_close(
                        hidden[2 * row : 2 * row + 2, 0], expected[[row, row], t], atol=1e-5, rtol=0
                    )


def test_packed_pairs_give_the_loss_and_gradient_they_give_alone() -> None:
    ours, generator = model("pre-norm"), torch.Generator().manual_seed(5)
    sources, targets = [[4, 2], [3]], [[3, 5], [6]]  # lengths of the pairs packed in rows 0 and 1
    n, t = 7, 9
    source = torch.randint(0, VOCAB, (2, n), generator=generator)
    inputs = torch.randint(0, VOCAB, (2, t), generator=generator)
    there, here = packed(sources, n), packed(targets, t)
    wanted = torch.where(here.valid, torch.randint(0, VOCAB, (2, t), generator=generator), -1)
    objective = TranslationConfig().build()
    together = objective(ours, Batch(inputs, here, wanted, source, there))
    together.total.backward()
    gradients = {name: p.grad.clone() for name, p in ours.named_parameters() if p.grad is not None}
    ours.zero_grad()
    totals = []
    for row in range(2):
        s = u = 0
        for a, c in zip(sources[row], targets[row], strict=True):
            part = Batch(
                inputs[[row], u : u + c], dense(1, c), wanted[[row], u : u + c], source[[row], s : s + a], dense(1, a)
            )
            loss = objective(ours, part)
            loss.total.backward()
            totals.append(loss.total.detach())
            s, u = s + a, u + c
    torch.testing.assert_close(torch.stack(totals).sum(), together.total.detach(), rtol=1e-5, atol=1e-4)
    for name, p in ours.named_parameters():
        assert p.grad is not None
        torch.testing.assert_close(p.grad, gradients[name], rtol=1e-4, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_tied_layers_share_weights_and_keep_separate_memories() -> None:
    config = from_data(DecoderConfig, {"width": 16, "layers": [{"times": 3, "tied": True}], "residual": {"dropout": 0}})
    tied = config.build(11)
    assert sum(p.numel() for p in tied.stacks()[0].blocks.parameters()) * 3 == sum(
        p.numel()
        for p in from_data(DecoderConfig, {"width": 16, "layers": 3}).build(11).stacks()[0].blocks.parameters()
    )
    check_steps(tied.eval())


def check_steps(lm: Model) -> None:
    ids = torch.randint(0, 11, (2, 9))
    with torch.no_grad():
        expected = lm.features(Batch(ids, dense(2, 9), ids))
        state, parts = lm.init_state(2, 9), []
        for t in range(9):
            h, state = lm.step(ids[:, [t]], dense(2, 1, start=t), state)
            parts.append(h)
    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-5, rtol=0)
