"""Keys and values before those of attention: the formula, in every role, padded, packed and step by step."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce.cli.main import main
from transduce.config import from_data
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.inspect.stages import stages
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import Layout, dense, left_padded, right_padded
from transduce.model.models import Model
from transduce.runs.checkpoint import read_tensors
from transduce.runs.weights import names
from transduce.tune.prefix import PrefixTuning, attentions, prefixed

from ..generate.test_rows import as_alone, built

FEW = {
    "data.unit": "line", "train.threads": 1, "batch.max_length": 24, "batch.batch_tokens": 192, "train.max_steps": 4,
    "schedule": "constant", "train.validate_every": 2, "train.device": "cpu",
}  # fmt: skip
P, WIDTH, VOCABULARY = 3, 16, 11
ATTENTION = {"kind": "attention", "heads": 4}
BODIES: dict[str, dict[str, Any]] = {
    "sinusoidal": {}, "learned": {"positions": {"kind": "learned", "limit": 24}}, "rotary": {"positions": "rotary"},
    "alibi": {"positions": "alibi"}, "alibi, rounded": {"positions": {"kind": "alibi", "rounded": True}},
    "t5": {"positions": "t5"}, "shaw": {"positions": "shaw"}, "transformer-xl": {"positions": "transformer-xl"},
    "window": {"mixer": {**ATTENTION, "window": 3, "sinks": 1}},
    "grouped": {"mixer": {**ATTENTION, "kv_heads": 2, "softcap": 5.0, "qk_norm": "rms-norm"}},
    "hybrid": {"layers": [{"mixer": {"kind": "lstm"}}, {"mixer": ATTENTION}]},
}  # fmt: skip


def model_of(body: str = "sinusoidal", config: Any = DecoderConfig, tokens: int = P, **more: Any) -> Model:
    data = {"width": WIDTH, "layers": 2, "mixer": ATTENTION, "residual": {"kind": "pre-norm", "dropout": 0.0}}
    model = from_data(config, {**data, **BODIES[body], **more}).build(VOCABULARY, seed=3).double().eval()
    PrefixTuning(tokens=tokens).adapt(model, torch.Generator().manual_seed(1))
    return model


def ids_of(rows: int, tokens: int) -> torch.Tensor:
    return torch.randint(VOCABULARY, (rows, tokens), generator=torch.Generator().manual_seed(rows + tokens))


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)


def gradients(model: Model, total: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("causal", [True, False])
def test_it_is_the_formula(causal: bool) -> None:
    """softmax(q [p_k; k]^T / sqrt(D)) [p_v; v], head by head, with rotary positions that begin at P."""
    model = model_of("rotary", DecoderConfig if causal else EncoderConfig, layers=1)
    (mixer,), x = prefixed(model), torch.randn(2, 7, WIDTH, dtype=torch.float64)
    q, k, v = (part(x).view(2, 7, 4, 4) for part in (mixer.q, mixer.k, mixer.v))
    places = torch.arange(P, P + 7)
    angle = torch.outer(places.double(), 10_000.0 ** (-torch.arange(0, 4, 2).double() / 4))
    turned = list[torch.Tensor]()
    for one in (q, k):
        a, b = one[..., :2], one[..., 2:]
        sin, cos = angle.sin()[None, :, None], angle.cos()[None, :, None]
        turned.append(torch.cat([a * cos - b * sin, b * cos + a * sin], -1))
    keys = torch.cat([mixer.prefix.keys.expand(2, -1, -1, -1), turned[1]], 1)
    values = torch.cat([mixer.prefix.values.expand(2, -1, -1, -1), v], 1)
    scores = torch.einsum("bthd,bnhd->bhtn", turned[0], keys) / 2
    if causal:
        ahead = torch.arange(7)[None, :] > torch.arange(7)[:, None]
        scores[..., P:] = scores[..., P:].masked_fill(ahead, -torch.inf)
    expected = mixer.out(torch.einsum("bhtn,bnhd->bthd", scores.softmax(-1), values).flatten(2))
    y = mixer(x, dense(2, 7))[0] if causal else mixer.encode(x, dense(2, 7))
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=1e-6)  # the table of angles is float32


@pytest.mark.parametrize("body", BODIES)
def test_padded_packed_and_step_by_step_are_the_same(body: str) -> None:
    """With the gradient of the prefix; 13 tokens and 5 more in the same row, or each alone."""
    model, long, short = model_of(body), ids_of(1, 13), ids_of(1, 5)
    alone = [model.features(Batch(x, dense(*x.shape), x)) for x in (long, short)]
    slopes = [torch.randn_like(y) for y in alone]
    expected = gradients(model, sum((y * dy).sum() for y, dy in zip(alone, slopes, strict=True)))
    lengths = torch.tensor([13, 5])
    both = torch.cat([long, torch.cat([short, short.new_zeros(1, 8)], 1)])
    left = torch.cat([long, torch.cat([short.new_zeros(1, 8), short], 1)])
    one = torch.cat([long, short], 1)
    packed = Layout(torch.cat([torch.arange(13), torch.arange(5)])[None], torch.tensor([0] * 13 + [1] * 5)[None])
    ways = [
        (both, right_padded(lengths, 13), [(0, slice(0, 13)), (1, slice(0, 5))]),
        (left, left_padded(lengths, 13), [(0, slice(0, 13)), (1, slice(8, 13))]),
        (one, packed, [(0, slice(0, 13)), (0, slice(13, 18))]),
    ]
    for ids, layout, places in ways:
        y = model.features(Batch(ids, layout, ids))
        parts = [y[row, at][None] for row, at in places]
        for a, b in zip(parts, alone, strict=True):
            close(a, b)
        own = gradients(model, sum((a * dy).sum() for a, dy in zip(parts, slopes, strict=True)))
        assert any(".prefix.keys" in name and bool(x.any()) for name, x in own.items())
        for name, x in expected.items():
            close(own[name], x)
    for sizes in ([1] * 13, [5, 8]):
        state, start, parts = model.init_state(1, 13), 0, list[torch.Tensor]()
        with torch.no_grad():
            for size in sizes:
                y, state = model.step(long[:, start : start + size], dense(1, size, start), state)
                parts, start = [*parts, y], start + size
        close(torch.cat(parts, 1), alone[0])


@pytest.mark.parametrize("body", ["sinusoidal", "rotary", "t5", "alibi"])
def test_an_encoder_and_what_reads_it_see_the_prefix(body: str) -> None:
    """Each of the three kinds of attention has its own; padded is alone."""
    encoder = model_of(body, EncoderConfig)
    long, short = ids_of(1, 9), ids_of(1, 4)
    both, layout = (
        torch.cat([long, torch.cat([short, short.new_zeros(1, 5)], 1)]),
        right_padded(torch.tensor([9, 4]), 9),
    )
    alone = [encoder.features(Batch(x, dense(*x.shape), x)) for x in (long, short)]
    y = encoder.features(Batch(both, layout, both))
    close(y[:1], alone[0])
    close(y[1:, :4], alone[1])
    model = model_of(body, EncoderDecoderConfig)
    assert [name.rpartition(".prefix")[0][-5:] for name in names_of(model) if name.endswith("prefix.keys")] == [
        "0.mix", "1.mix", "0.mix", "cross", "1.mix", "cross",
    ]  # fmt: skip
    target = ids_of(2, 6)
    together = model.features(Batch(target, dense(2, 6), target, both, layout))
    for row, source in enumerate((long, short)):
        own = Batch(target[row : row + 1], dense(1, 6), target[row : row + 1], source, dense(*source.shape))
        close(together[row : row + 1], model.features(own))
        with torch.no_grad():
            memory, state, steps = model.remember(source, dense(*source.shape)), model.init_state(1, 6), []
            for t in range(6):
                y, state = model.step(target[row : row + 1, t : t + 1], dense(1, 1, t), state, memory)
                steps.append(y)
        close(torch.cat(steps, 1), together[row : row + 1])
    slopes = gradients(model, together.square().sum())
    assert all(bool(slopes[name].any()) for name in slopes if ".prefix." in name)


def names_of(model: Model) -> list[str]:
    return list(names(model).values())


def test_nothing_of_the_model_has_another_name_or_number(tmp_path: Path) -> None:
    plain = from_data(DecoderConfig, {"width": WIDTH, "layers": 2, "mixer": ATTENTION, "positions": "rotary"})
    before, after = plain.build(VOCABULARY, seed=3), plain.build(VOCABULARY, seed=3)
    (line,) = PrefixTuning(tokens=P).adapt(after, torch.Generator())
    assert line == "prefix of 3 keys and values before those of 2 attention layers"
    old, new = ({name: x for x, name in names(model).items()} for model in (before, after))
    assert {name for name in new if name not in old} == {
        f"stack.blocks.{i}.mix.prefix.{part}" for i in range(2) for part in ("keys", "values")
    }
    assert all(torch.equal(new[name], x) for name, x in old.items())
    moving = {name for name, p in after.named_parameters() if PrefixTuning().labels(after)[p] == "prefix"}
    assert moving == new.keys() - old.keys()
    copy = deepcopy(after)
    with torch.no_grad():
        prefixed(copy)[0].prefix.values.add_(1)
    assert not torch.equal(prefixed(copy)[0].prefix.values, prefixed(after)[0].prefix.values)


def test_positions_begin_behind_it_and_there_are_fewer() -> None:
    model = model_of("learned")
    assert model.limit == 24 - P
    ids = ids_of(1, 21)
    plain = from_data(DecoderConfig, {"width": WIDTH, "layers": 2, "mixer": ATTENTION, **BODIES["learned"]}).build(
        VOCABULARY, seed=3
    )
    shifted = plain.double().eval().embed(ids, dense(1, 21, P))
    close(model.embed(ids, dense(1, 21)), shifted)
    for tokens in (24, 30):
        with pytest.raises(UserError, match=rf"tune\.tokens={tokens} leaves no position to tokens.*use at most 23"):
            model_of("learned", tokens=tokens)
    assert model_of("t5").limit is None


@pytest.mark.parametrize(("mixer", "kinds"), [("lstm", "LSTM"), ("linear", "Linear")])
def test_a_model_without_attention_is_refused_in_a_sentence(mixer: str, kinds: str) -> None:
    model = from_data(DecoderConfig, {"width": WIDTH, "layers": 1, "mixer": mixer, "positions": "none"}).build(11)
    assert not attentions(model)
    with pytest.raises(UserError, match=rf"before those of attention .* this model are {kinds}.*; use tune=lora$"):
        PrefixTuning().adapt(model, torch.Generator())
    with pytest.raises(ValueError, match="tokens=0"):
        PrefixTuning(tokens=0)


@pytest.mark.parametrize("more", [{"positions": "rotary"}, {"mixer": {"window": 20, "sinks": 2}}, {"positions": "t5"}])
def test_rows_that_come_and_go_are_written_as_alone_to_the_bit(more: dict[str, Any]) -> None:
    """As a server writes them; P is no multiple of what sums over keys are made of."""
    model = built(from_data(DecoderConfig, {"width": 64, "layers": 2, **more}))
    assert model is not None
    PrefixTuning(tokens=P).adapt(model, torch.Generator().manual_seed(1))
    as_alone(model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text, and the run of a language model of it."""
    folder = tmp_path_factory.mktemp("prefix")
    (folder / "text.txt").write_text("".join(f"{'ab' * (i % 5)}c{i % 10}\n" for i in range(60)))
    sizes = {"model.width": 16, "model.layers": 2, "model.mixer.heads": 2, "model.feedforward.hidden": 24}
    td.train(
        "text", {**FEW, **sizes, "name": "lm", "tokenizer": {"kind": "char"}, **at(folder)}, out=folder, quiet=True
    )
    return folder


def at(folder: Path) -> dict[str, str]:
    return {"data.path": str(folder / "text.txt")}


def tune(folder: Path, name: str = "tuned", start: str = "lm", **more: Any) -> Path:
    data = {**FEW, **at(folder), "start": str(folder / start), "tune": {"kind": "prefix", "tokens": P}, "name": name}
    return td.train("text", {**data, "optimizer.learning_rate": 0.05, **more}, out=folder, quiet=True).path


@pytest.fixture(scope="module")
def tuned(folder: Path) -> Path:
    return tune(folder)


def test_a_run_writes_by_a_cache_what_it_reads_at_once(tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = td.load(tuned, device="cpu")
    assert len(prefixed(model.model)) == 2
    prompts, options = [[3], [4, 5, 6], [5, 4]], GenerateConfig(max_new_tokens=6, temperature=0.0)
    together = decode(model.model, model.tokenizer, options, prompt=prompts)
    for prompt, (best,) in zip(prompts, together, strict=True):
        ((own,),) = decode(model.model, model.tokenizer, options, prompt=[prompt])
        assert own.ids == best.ids
        ids = torch.tensor([[*prompt, *best.ids]])
        with torch.no_grad():
            scores = model.model.token_head(model.model.features(Batch(ids, dense(*ids.shape), ids)))
        scores[..., [*model.tokenizer.barred]] = -torch.inf
        assert scores[0, len(prompt) - 1 : -1].argmax(-1).tolist() == best.ids
    assert main(["generate", str(tuned), "ab", "--device", "cpu", "--max-new-tokens", "4"]) == 0
    assert capsys.readouterr().out.strip()


def test_what_is_shown_of_a_mixer_has_a_column_for_each_of_the_prefix(tuned: Path) -> None:
    model = td.load(tuned, device="cpu").model
    parts = {one.name: one for one in stages(model, [3, 4, 5], names=lambda ids: [str(i) for i in ids]).stages}
    weights, end = parts["softmax"], parts["merge"].numbers
    assert weights.columns is not None
    assert weights.columns[:P] == ["prefix 1", "prefix 2", "prefix 3"]
    assert weights.numbers is not None
    assert end is not None
    assert (weights.numbers[:, :P] > 0).all()
    torch.testing.assert_close(parts["sum"].numbers, end[:, : end.shape[1] // 2], atol=1e-5, rtol=1e-5)
    mixer, x = prefixed(model)[0], torch.randn(1, 4, 16)
    seen = mixer.recall.forward(mixer.project(x, dense(1, 4))[1], dense(1, 4), None)[0]
    with torch.no_grad():
        own = mixer.weights(x, dense(1, 4), seen)
    assert (own.sum(-1) < 1).all()
    assert (own.triu(1) == 0).all()


def test_a_checkpoint_holds_the_prefix_alone_and_a_training_goes_on_from_it(folder: Path, tuned: Path) -> None:
    names_saved = {f"stack.blocks.{i}.mix.prefix.{part}" for i in range(2) for part in ("keys", "values")}
    saved = read_tensors((tuned / "best").resolve() / "model.safetensors")
    assert saved.keys() == names_saved
    before = read_tensors((folder / "lm" / "best").resolve() / "model.safetensors")
    base = read_tensors(tuned / "base.safetensors")
    assert all(torch.equal(base[name], x) for name, x in before.items())
    more = tune(folder, "more", "tuned", **{"train.max_steps": 1, "train.ema": None, "optimizer.learning_rate": 1e-12})
    assert "as the model has it that this one starts from" in (more / "log.txt").read_text()
    assert "not used" not in (more / "log.txt").read_text()
    after = read_tensors((more / "last").resolve() / "model.safetensors")
    for name in names_saved:
        torch.testing.assert_close(after[name], saved[name], atol=1e-9, rtol=1e-6)
    for other in ({"tune": "lora"}, {"tune.tokens": 5}):
        with pytest.raises(
            UserError,
            match=r"was trained with tune=prefix, .*; set tune.kind=prefix tune.tokens=3, or start from .*/lm, ",
        ):
            tune(folder, "odd", "tuned", **other)
    second = tune(folder, "second", **{"train.seed": 2})
    averaged = td.average([tuned, second], out=folder / "soup").run.path
    mean, other = (read_tensors((path / "best").resolve() / "model.safetensors") for path in (averaged, second))
    for name in names_saved:
        assert not torch.equal(saved[name], other[name])
        torch.testing.assert_close(mean[name], (saved[name] + other[name]) / 2)
    assert len(prefixed(td.load(averaged, device="cpu").model)) == 2
