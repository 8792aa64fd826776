"""Adapters and other ways to move a part of a model: what moves, what is saved, and that reading gives the same."""

import shutil
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.utils import parametrize

import transduce as td
from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model import layout as geometry
from transduce.model.architecture import DecoderConfig, EncoderConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import Model
from transduce.model.positions.position import NoPositionsConfig
from transduce.optim.adamw import AdamWConfig
from transduce.runs.checkpoint import read_tensors
from transduce.runs.listing import summary
from transduce.runs.opening import open_run
from transduce.runs.run import Run
from transduce.runs.weights import names
from transduce.tune.adapters import AdapterConfig, adapters, put
from transduce.tune.lora import LoRA
from transduce.tune.tuning import TuneConfig, Tuning, merge

LM = {
    "tokenizer": {"kind": "char"}, "model.width": 16, "model.layers": 2, "data.unit": "line", "train.threads": 1,
    "batch.max_length": 24, "batch.batch_tokens": 192, "schedule.warmup_steps": 1, "train.max_steps": 2,
    "train.validate_every": 2, "train.device": "cpu", "model.feedforward.hidden": 24,
}  # fmt: skip
SHORT = {
    "batch.max_length": 24, "batch.batch_tokens": 192, "schedule": "constant", "train.max_steps": 4,
    "train.validate_every": 2, "train.threads": 1, "train.device": "cpu", "train.save_every": 1, "train.keep": 9,
}  # fmt: skip
BODIES = {
    "attention": {"model.mixer.heads": 2},
    "lstm": {"model.mixer": "lstm", "model.positions": "none"},
    "gated-delta": {"model.mixer": {"kind": "gated-delta", "heads": 2}, "model.positions": "none"},
}
WAYS = sorted(kinds(TuneConfig.folder))
PARTIAL = [way for way in WAYS if way not in ("full", "ulmfit", "layer-wise")]


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text, and a labelled table of the same letters."""
    folder = tmp_path_factory.mktemp("adapters")
    (folder / "text.txt").write_text("".join(f"{'ab' * (i % 5)}c{i % 10}\n" for i in range(60)))
    rows = [("even" if i % 2 else "odd", "ab" * (i % 5) + str(i % 2)) for i in range(60)]
    (folder / "table.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in rows))
    return folder


def language_model(body: str, tables: Path) -> Path:
    """The run of a language model."""
    data = {"name": body, "data.path": str(tables / "text.txt"), **LM, **BODIES[body]}
    return td.train("text", data, out=tables, quiet=True).path


@pytest.fixture(scope="session")
def lm(tables: Path) -> Path:
    return language_model("attention", tables)


def classifier(lm: Path, tables: Path, out: Path, **more: Any) -> Run:
    data = {"start": str(lm), "data.path": str(tables / "table.tsv"), **SHORT, **more}
    return td.train("classify", data, out=out, quiet=True)


@pytest.fixture(scope="session")
def tuned(lm: Path, tables: Path) -> Run:
    return classifier(lm, tables, tables / "tuned", tune="lora")


@pytest.mark.parametrize(("way", "ema"), [*((way, None) for way in PARTIAL), ("lora", 0.9)])
def test_what_does_not_move_keeps_its_bits_and_is_saved_once(
    way: str, ema: float | None, lm: Path, tables: Path, tmp_path: Path
) -> None:
    run = classifier(lm, tables, tmp_path, tune=way, **{"train.ema": ema, "train.average": 2})
    before, base = (
        read_tensors((lm / "best").resolve() / "model.safetensors"),
        read_tensors(run.path / "base.safetensors"),
    )
    assert len(base) > 5
    for name, tensor in base.items():
        if name in before:
            assert torch.equal(tensor, before[name]), name
    first, last = (read_tensors(run.checkpoints / f"step-0000000{i}" / "model.safetensors") for i in (1, 4))
    assert not base.keys() & last.keys()
    assert all(not torch.equal(first[name], last[name]) for name in last), "what is saved moves"
    saved = {p.name for p in (run.checkpoints / "step-00000004").iterdir()}
    assert ("ema.safetensors" in saved) == (ema is not None)
    kept = {
        name.partition("/")[2] for name in read_tensors(run.checkpoints / "step-00000004" / "optimizer.safetensors")
    }
    assert len(kept) == len(last)
    whole = sum(x.numel() for x in (*base.values(), *last.values()))
    assert summary(run.path).parameters == whole


@pytest.mark.parametrize("way", ["head", "lora", "prefix", "ulmfit"])
def test_a_run_that_is_stopped_goes_on_bit_for_bit(way: str, lm: Path, tables: Path, tmp_path: Path) -> None:
    tune = {"kind": way, "unfreeze_steps": 1} if way == "ulmfit" else way
    whole = classifier(lm, tables, tmp_path, tune=tune, name="whole")
    part = classifier(lm, tables, tmp_path, tune=tune, name="part", **{"train.max_steps": 2})
    shutil.move(lm, aside := lm.with_name("aside"))
    try:
        part = classifier(lm, tables, tmp_path, tune=tune, name="part")
    finally:
        shutil.move(aside, lm)
    for file in ("model.safetensors", "optimizer.safetensors"):
        a, b = (read_tensors(run.checkpoints / "step-00000004" / file) for run in (whole, part))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a), file
    assert (whole.path / "metrics.jsonl").read_bytes() == (part.path / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("body", "way"),
    [("attention", "head"), *((body, "lora") for body in BODIES)],
)
def test_a_run_opens_merged_without_its_start(body: str, way: str, lm: Path, tables: Path, tmp_path: Path) -> None:
    lm = lm if body == "attention" else language_model(body, tables)
    run = classifier(lm, tables, tmp_path, tune=way)
    model = open_run(run).model
    assert not any(parametrize.is_parametrized(module) for module in model.modules())
    copy = Path(shutil.copytree(run.path, tmp_path / "elsewhere"))  # links followed: `best` becomes a directory
    texts = ["abab1", "ab0", "ababab1"]
    expected = [a.probabilities for a in td.load(run.path, device="cpu").classify(texts)]
    assert [a.probabilities for a in td.load(copy, device="cpu").classify(texts)] == expected
    more = classifier(run.path, tables, tmp_path, name="more")  # a start: the merged weights
    log = (more.path / "log.txt").read_text()
    assert "not used" not in log
    assert "keep their start values" not in log


def test_what_keeps_random_numbers_is_told(tuned: Run, tables: Path, tmp_path: Path) -> None:
    run = td.train(
        "classify", {"data.path": str(tables / "table.tsv"), **SHORT, "tune": "lora"}, out=tmp_path, quiet=True
    )
    line = "what does not move keeps its random start values"
    assert line in (run.path / "log.txt").read_text()
    assert line not in (tuned.path / "log.txt").read_text()


@pytest.mark.parametrize("damage", ["gone", "altered", "cut"])
def test_damage_to_what_does_not_move_is_one_sentence(
    damage: str, tuned: Run, lm: Path, tables: Path, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(tuned.path, tmp_path / "classify", symlinks=True)))
    file = run.path / "base.safetensors"
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-5] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"base\.safetensors of its run"):
        td.load(run.path)
    with pytest.raises(UserError, match=r"no checkpoint in .* is intact"):
        classifier(lm, tables, tmp_path, tune="lora", **{"train.max_steps": 6})
    if damage != "altered":
        assert summary(run.path).state == "damaged"


def tuning_of(data: dict[str, Any]) -> Any:
    keys = {key: value for key, value in data.items() if key != "kind"}
    return from_data(kinds(TuneConfig.folder)[data["kind"]], keys)


def model_of(**more: Any) -> Model:
    data = {"width": 16, "layers": 2, "mixer": {"kind": "attention", "heads": 2}, **more}
    return from_data(DecoderConfig, data).build(11, seed=3).eval()


@pytest.mark.parametrize("way", [way for way in WAYS if issubclass(kinds(TuneConfig.folder)[way], AdapterConfig)])
def test_an_adapter_begins_at_the_weights_and_merges_to_the_bit(way: str) -> None:
    model, ids = model_of(), torch.randint(11, (2, 7))
    layout = geometry.dense(2, 7)
    plain = model.step(ids, layout, model.init_state(2, 7))[0]
    config = tuning_of({"kind": way, "rank": 3, "alpha": 6, "targets": ["*"]})
    said = config.adapt(model, torch.Generator().manual_seed(1))
    assert f"{way} of rank 3 on 12 linear maps: " in said[0]
    torch.testing.assert_close(model.step(ids, layout, model.init_state(2, 7))[0], plain, atol=1e-6, rtol=1e-6)
    originals = {name: tensor.clone() for tensor, name in names(model).items()}
    with torch.no_grad():
        for adapter in adapters(model):
            for p in adapter.parameters():
                p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(2)))
    changed = model.step(ids, layout, model.init_state(2, 7))[0]
    assert (changed - plain).abs().max() > 0.01
    merged = deepcopy(model)
    merge(merged)
    assert torch.equal(merged.step(ids, layout, merged.init_state(2, 7))[0], changed)
    for tensor, name in names(model).items():  # the weights beneath are as they were
        assert ".weight." in name or torch.equal(tensor, originals[name])


def test_lora_and_dora_are_their_formulas() -> None:
    W, generator = torch.randn(5, 7, dtype=torch.float64), torch.Generator().manual_seed(0)
    low = tuning_of({"kind": "lora", "rank": 2, "alpha": 3}).adapter(W, generator)
    low.B.data.normal_()
    torch.testing.assert_close(low(W), W + 1.5 * low.B @ low.A)
    directed = tuning_of({"kind": "dora", "rank": 2, "alpha": 3}).adapter(W, generator)
    torch.testing.assert_close(directed(W), W)
    directed.low.B.data.normal_()
    directed.m.data.mul_(2.0)
    V = W + 1.5 * directed.low.B @ directed.low.A
    torch.testing.assert_close(directed(W), 2 * W.norm(dim=1, keepdim=True) * V / V.norm(dim=1, keepdim=True))


def test_lora_multiplies_in_lower_precision_as_the_weight_that_it_gives() -> None:
    """The same bits as of a product with that weight, in bfloat16 too, and its gradients but for their rounding."""
    linear, generator = torch.nn.Linear(7, 5), torch.Generator().manual_seed(0)
    linear.weight.requires_grad_(False)
    adapter = tuning_of({"kind": "lora", "rank": 2, "alpha": 3}).adapter(linear.weight, generator)
    adapter.B.data.normal_(generator=generator)
    by_weight, fast = deepcopy(linear), deepcopy(linear)
    parametrize.register_parametrization(by_weight, "weight", deepcopy(adapter))
    put(fast, deepcopy(adapter))
    x, results = torch.randn(3, 4, 7, generator=generator), list[list[torch.Tensor]]()
    for part in (by_weight, fast):
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = part(given)
        y.float().square().sum().backward()
        own = part.parametrizations["weight"][0]
        results.append([y, *(p.grad for p in (given, part.bias, own.A, own.B))])
    assert "_Product" in str(results[1][0].grad_fn)  # no gradient of all of W is made
    assert "_Product" not in str(results[0][0].grad_fn)
    assert torch.equal(results[0][0], results[1][0])
    for expected, found in zip(results[0][1:], results[1][1:], strict=True):
        assert found.dtype == torch.float32
        assert (found - expected).abs().max() <= 2**-7 * expected.abs().max()


def test_ulmfit_thaws_from_the_head_down_at_falling_rates() -> None:
    model = model_of()
    config = tuning_of({"kind": "ulmfit", "decay": 2.0, "unfreeze_steps": 10})
    tuning = Tuning(config, model, AdamWConfig().build(model))
    labels = tuning.labels
    upper, lower = (dict(model.named_parameters())[f"stack.blocks.{i}.mix.q.weight"] for i in (1, 0))
    assert (labels[upper], labels[lower]) == ("1", "2")
    assert labels[next(iter(model.token_head.parameters()))] == "0"
    assert upper not in set(tuning.arrange(10))
    assert upper in set(tuning.arrange(11))
    assert lower not in set(tuning.arrange(20))
    assert len(tuning.arrange(31)) == len(list(model.parameters()))
    rates = {group["label"]: group["factor"] for o in tuning.optimizers for group in o.param_groups}
    assert {rates["0"], rates["1"], rates["2"]} == {1.0, 0.5, 0.25}


@pytest.mark.parametrize(
    ("tune", "sentence"),
    [
        (
            {"kind": "lora", "targets": ["*.mix.qq"]},
            r"tune\.targets: `\*\.mix\.qq` is the name of no linear map; there are mix\.q",
        ),
        ({"kind": "lora", "rank": 0}, "rank=0"),
        ({"kind": "lora", "alpha": -1}, "alpha=-1.* must be a positive number"),
        ({"kind": "dora", "targets": []}, "adapts nothing"),
        ({"kind": "ulmfit", "decay": 0.5}, r"decay=0\.5"),
    ],
)
def test_what_cannot_be_adapted_is_one_sentence(tune: dict[str, Any], sentence: str) -> None:
    with pytest.raises((UserError, ValueError), match=sentence):
        tuning_of(tune).adapt(model_of(), torch.Generator())


MIXERS = [kind for kind in kinds(MixerConfig.folder).values() if issubclass(kind, MixerConfig) and not kind.absent]


@pytest.mark.parametrize("kind", MIXERS, ids=lambda kind: kind.kind)
def test_every_mixer_has_maps_that_are_adapted_by_default(kind: type[MixerConfig]) -> None:
    """A model of one block; where a mixer cannot stand in a decoder, it stands in an encoder."""
    models = list[Model]()
    for mixer in kind.examples():
        for body in (DecoderConfig, EncoderConfig):
            with suppress(UserError, ValueError):
                models.append(body(width=16, layers=1, mixer=mixer, positions=NoPositionsConfig()).build(11))
                break
    assert models
    for model in models:
        LoRA().adapt(model, torch.Generator())
        assert list(adapters(model))
