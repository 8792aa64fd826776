"""A certificate is refused where something differs, whatever it is."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from transduce.errors import UserError
from transduce.exchange import certificate, checkpoint, parity
from transduce.exchange import importing as imported
from transduce.exchange.answers import Answers
from transduce.runs import opening
from transduce.testing.families import saved

pytest.importorskip("transformers")


def given(**more: Any) -> Answers:
    """What a side may answer: hidden states of scale 1, logits of scale 1, eight tokens, three lines."""
    generator = torch.Generator().manual_seed(0)
    layers = {
        name: torch.rand(2, 5, 7, generator=generator) for name in ("embedding", "layer 1", "end", "pooled", "logits")
    }
    return Answers(**{"layers": layers, "text": list(range(8)), "ids": [[1, 2], [3], []], **more})


def changed(layer: str, change: Callable[[torch.Tensor], object]) -> Answers:
    layers = {name: x.clone() for name, x in given().layers.items()}
    change(layers[layer].view(-1)[33:34])
    return given(layers=layers)


def without(*names: str) -> Answers:
    return given(layers={name: x for name, x in given().layers.items() if name not in names})


NAN, INF = float("nan"), float("inf")
PLANTED: dict[str, tuple[Answers, str]] = {
    "a logit": (changed("logits", lambda x: x.add_(1.1e-4)), "other logits than .* they part at logits"),
    "a logit, below": (changed("logits", lambda x: x.sub_(1.1e-4)), "other logits than"),
    "a logit that is none": (changed("logits", lambda x: x.fill_(NAN)), "differ by up to inf"),
    "a logit without end": (changed("logits", lambda x: x.fill_(INF)), "differ by up to inf"),
    "logits of another shape": (given(layers={**given().layers, "logits": torch.zeros(2, 5, 1)}), "up to inf"),
    "a pooled vector": (changed("pooled", lambda x: x.add_(1.1e-4)), "other pooled vectors than"),
    "the first token": (given(text=[9, *range(1, 8)]), "other text than .* from token 1 of 8 on"),
    "the last token": (given(text=[*range(7), 9]), "from token 8 of 8 on"),
    "a token too few": (given(text=list(range(7))), "from token 8 of 8 on"),
    "a token too many": (given(text=list(range(9))), "from token 9 of 9 on"),
    "no text at all": (given(text=[]), "from token 1 of 8 on"),
    "an id": (given(ids=[[1, 2], [4], []]), r"1 of 3 lines as other ids than .*line 2: \[3\] here, \[4\] there"),
    "the ids of an empty line": (given(ids=[[1, 2], [3], [0]]), "line 3"),
    "a line too few": (given(ids=[[1, 2], [3]]), r"line 3: \[\] here, nothing there"),
    "a line too many": (given(ids=[[1, 2], [3], [], []]), "1 of 4 lines"),
}


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("swapped", [False, True])
def test_every_difference_is_refused(name: str, swapped: bool) -> None:
    other, told = PLANTED[name]
    sides = (other, given()) if swapped else (given(), other)
    found = certificate.compare(*sides)
    assert not found.passed
    with pytest.raises(UserError, match=told if not swapped else "."):
        certificate.require_equal(found, "the run", "the other")


def test_rounding_is_no_difference() -> None:
    found = certificate.compare(given(), changed("logits", lambda x: x.add_(0.9e-4)))
    assert found.passed
    certificate.require_equal(found, "the run", "the other")
    assert certificate.TOLERANCE == 1e-4


@pytest.mark.parametrize("scale", [1e-3, 1.0, 7.0])
def test_what_is_allowed_is_a_share_of_the_greatest_number_from_one_on(scale: float) -> None:
    most = torch.full((3, 4), scale)
    assert certificate.limit_of(most) == pytest.approx(1e-4 * max(1.0, scale))
    assert certificate.limit_of(torch.tensor([scale, NAN])) == 1e-4
    assert certificate.limit_of(torch.tensor([scale, INF])) == 1e-4


def test_the_ids_that_are_drawn_are_text() -> None:
    """Padding, <s> and the like have no text, and a model need compute nothing sensible for them."""
    from transduce.text.char import Char

    tokenizer = Char().train(["abc"])
    rows = certificate.drawn(nn.Module(), tokenizer, torch.zeros(50, 20, dtype=torch.int64), seed=0)  # type: ignore[arg-type]
    assert {*rows.flatten().tolist()} == {i for i in range(tokenizer.vocab_size) if tokenizer.decode([i]) in {*"abc"}}


@pytest.mark.parametrize(
    ("ours", "theirs", "token"),
    [([1, 2], [1, 3], 2), ([1, 2], [1, 2, 3], 3), ([1, 2, 3], [1, 2], 3), ([], [4], 1), ([4], [], 1), ([5, 1], [1], 1)],
)
def test_text_by_the_settings_of_a_folder_is_the_same_to_its_end(
    ours: list[int], theirs: list[int], token: int
) -> None:
    with pytest.raises(UserError, match=f"writes other text than them as .* says, from token {token} on"):
        certificate.require_same_settings(ours, theirs, "them")
    assert certificate.require_same_settings(ours, ours, "them") == {
        "tokens_alike_by_generation_config": f"{len(ours)} of {len(ours)}"
    }


def test_what_is_no_number_on_both_sides_is_no_agreement() -> None:
    spoilt = changed("logits", lambda x: x.fill_(NAN))
    found = certificate.compare(spoilt, spoilt)
    assert not found.passed
    with pytest.raises(UserError, match="logits that are not numbers, and so does"):
        certificate.require_equal(found, "the run", "the other")
    assert math.isinf(certificate.difference(torch.tensor([NAN]), torch.tensor([NAN])))
    assert certificate.difference(torch.tensor([-INF]), torch.tensor([-INF])) == 0.0
    assert not parity.Apart("logits", INF, NAN).near


def test_hidden_states_are_what_comes_out_where_there_are_no_logits() -> None:
    other = changed("end", lambda x: x.add_(2e-4))
    bare = Answers({name: x for name, x in other.layers.items() if name != "logits"}, [], other.ids)
    found = certificate.compare(without("logits")._replace(text=[]), bare)
    assert (found.output, found.first, found.passed) == ("end", "end", False)
    with pytest.raises(UserError, match="other hidden states than"):
        certificate.require_equal(found, "the run", "the other")


SMALL = {"vocab_size": 30, "initializer_range": 0.4}
FLAT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, **SMALL}
FALCON = {**{key: x for key, x in FLAT.items() if key != "intermediate_size"}, "ffn_hidden_size": 24}
MODELS: list[tuple[str, str, dict[str, Any]]] = [
    ("Bert", "ForPreTraining", {**FLAT, "max_position_embeddings": 24}),
    ("Bert", "ForNextSentencePrediction", {**FLAT, "max_position_embeddings": 24}),
    ("Electra", "ForPreTraining", {**FLAT, "embedding_size": 8, "max_position_embeddings": 24}),
    ("GPT2", "LMHeadModel", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 24, **SMALL}),
    ("Falcon", "ForCausalLM", {**FALCON, "alibi": True, "multi_query": False, "parallel_attn": False, "bias": True}),
]


class Made(NamedTuple):
    folder: Path
    run: Path


@pytest.fixture(scope="module", params=MODELS, ids=[f"{name}{kind}" for name, kind, _ in MODELS])
def made(request: pytest.FixtureRequest, published: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A folder, and the run that was made of it."""
    name, kind, options = request.param
    where = tmp_path_factory.mktemp(name)
    saved(f"{name}Config", f"{name}{kind}", options, where / "folder")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(published / file, where / "folder" / file)
    imported.write(where / "folder", where / "run", lines=40)
    return Made(where / "folder", where / "run")


def test_the_default_attention_is_what_is_compared_with(made: Made) -> None:
    said = certificate.read_certificate(made.run)
    assert said["largest_logit_difference"] <= 2e-5
    assert said["compared_with"] == "transformers"


def test_every_number_that_differs_is_refused(made: Made) -> None:
    """Those too that no question meets: rows of tokens and positions that no text has."""
    model = checkpoint.read(made.folder).model
    imported.require_same_weights(model, made.folder)
    for parameter in model.parameters():
        with torch.no_grad():
            before = parameter.view(-1)[-1].clone()
            parameter.view(-1)[-1] += 1e-3
            with pytest.raises(UserError, match="is not in the run as it is in the file"):
                imported.require_same_weights(model, made.folder)
            parameter.view(-1)[-1] = before


def test_the_numbers_of_an_import_are_looked_at(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    load, table = opening.load_weights, "embed.weight"

    def wrong(model: Any, path: Path) -> None:
        load(model, path)
        with torch.no_grad():
            dict(model.named_parameters())[table][-1] += 1.0  # of a token that no text has

    monkeypatch.setattr(opening, "load_weights", wrong)
    with pytest.raises(UserError, match=r"is not in the run as it is in the file|computes other"):
        imported.write(made.folder, made.run.with_name("wrong"), lines=3)
    assert not made.run.with_name("wrong").exists()


def test_every_part_that_computes_something_else_is_refused(made: Made) -> None:
    """What comes out shows it, without a look at the numbers."""
    from transduce.exchange.answers import OwnModel, TransformersModel
    from transduce.text.tokenizer import Tokenizer

    found, tokenizer = checkpoint.read(made.folder), Tokenizer.load(made.run / "tokenizer")
    asked = certificate.questions(found.model, tokenizer, count=3)._replace(new=0)
    marks = tokenizer.marks
    theirs = TransformersModel(made.folder, found.family.architecture(found.config)).answer(asked)
    ours = OwnModel(found.model, tokenizer, marks.before, marks.after)
    assert certificate.compare(ours.answer(asked), theirs).passed
    for name, parameter in found.model.named_parameters():
        if ".k.bias" in name:
            continue  # what is added to all keys alike changes no share
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter.copy_((parameter + 0.05).flip(-1))
        assert not certificate.compare(ours.answer(asked), theirs).passed, name
        with torch.no_grad():
            parameter.copy_(before)
