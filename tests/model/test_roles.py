"""What parameters are for is declared by their modules, wherever these stand and whatever they are called there."""

from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from transduce.config import Part, from_data, kinds
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig
from transduce.model.init.depth import DeepNormInit, deep_norm
from transduce.model.init.init import Sizes, XavierInit, declared
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.positions.position import Positions
from transduce.model.roles import Roles, roles
from transduce.optim import grouped

MIXERS = [c for kind in kinds(MixerConfig.folder).values() if not kind.absent for c in kind.examples()]
FOLDERS = ("feedforward", "norms", "residual", "heads", "embed", "positions")
EVERY = [(folder, kind) for folder in FOLDERS for kind in kinds(f"transduce.model.{folder}").values()]
KEYS = {"norms": "norm", "heads": "head", "embed": "embedding"}


def used(module: nn.Module) -> dict[type[nn.Module], tuple[set[str], set[str]]]:
    """By class, the names that are declared and those of parameters that are there."""
    found: dict[type[nn.Module], tuple[set[str], set[str]]] = {}
    for part in module.modules():
        if "roles" in dir(type(part)):
            names, there = found.setdefault(type(part), (set(), set()))
            names |= part.roles.keys()  # type: ignore[union-attr, operator]
            there |= {name for name, _ in part.named_parameters()} | {"*"}
    return found


def test_what_mixers_declare_is_there() -> None:
    """A name that no example has would be a slip of the pen, and the parameter would have another role."""
    total: dict[type[nn.Module], tuple[set[str], set[str]]] = {}
    for config in MIXERS:
        for kind, (names, there) in used(config.build(16, Positions())).items():
            old = total.setdefault(kind, (set(), set()))
            total[kind] = old[0] | names, old[1] | there
    assert {kind.__name__: names - there for kind, (names, there) in total.items() if names - there} == {}
    assert len(total) > 20


@pytest.mark.parametrize("config", MIXERS, ids=lambda c: str(c)[:60])
def test_every_vector_of_a_mixer_says_where_it_starts(config: MixerConfig) -> None:
    mixer = config.build(16, Positions())
    known = roles(mixer)
    assert known.keys() == dict(mixer.named_parameters()).keys()
    assert {name for name, role in known.items() if role == "vector"} <= declared(mixer).keys()


@pytest.mark.parametrize(("folder", "kind"), EVERY, ids=lambda x: getattr(x, "kind", x))
def test_every_vector_of_another_part_does_too(folder: str, kind: type[Part]) -> None:
    data: dict[str, Any] = {"width": 16, "layers": 1, KEYS.get(folder, folder): kind.kind}
    for config in (DecoderConfig, EncoderConfig, EncoderDecoderConfig):
        try:
            model = from_data(config, data).assemble(70_000 if kind.kind == "adaptive" else 11)
        except UserError:
            continue  # it has no place in this architecture
        known, own = roles(model), declared(model)
        assert {name for name, role in known.items() if role == "vector"} <= own.keys()


def test_how_a_translation_model_moves_and_starts() -> None:
    model = EncoderDecoderConfig(width=16, layers=1, tie_embeddings="none").build(11)
    known, moves = roles(model), {id(p): group for group, p in grouped(model)}
    block = {f"decoder.stack.blocks.0.{name}": role for name, role in {
        "mix.q.weight": "matrix", "mix.v.weight": "adds", "mix.out.weight": "writes", "mix.out.bias": "bias",
        "cross.v.weight": "adds", "feed.up.weight": "adds", "feed.down.weight": "writes",
        "mix_residual.norm.weight": "gain", "mix_residual.norm.bias": "shift",
    }.items()}  # fmt: skip
    ends = {"encoder.embed.weight": "table", "decoder.head.weight": "head", "decoder.stack.leave.weight": "gain"}
    assert (block | ends).items() <= known.items()
    tables = {name for name, p in model.named_parameters() if moves[id(p)] == "table"}
    assert tables == {"encoder.embed.weight", "decoder.embed.weight", "decoder.head.weight"}


class Own(nn.Module):
    """A part whose names mean something else than they seem to."""

    roles: ClassVar[Roles] = {"norm.weight": "adds", "embed.weight": "matrix"}

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.embed, self.hidden = (nn.Linear(40, 40, bias=False) for _ in range(3))
        self.inside = nn.LayerNorm(40)


def test_names_decide_nothing() -> None:
    """As children of any name, and nothing follows from names that look like others."""
    for name in ("embed", "head", "positions", "norm", "x"):
        model = nn.Sequential()
        model.add_module(name, Own())
        assert list(roles(model).values()) == ["adds", "matrix", "matrix", "gain", "shift"], "the nearest one decides"
        DeepNormInit().apply(model, Sizes(40, 0, 2), 0)
        own = model.get_submodule(name)
        beta = deep_norm(2, 0, encoder=False).beta
        stds = [p.std().item() * 40**0.5 for p in own.parameters() if p.ndim == 2]
        assert stds == pytest.approx([beta, 1, 1], rel=0.1)


def test_a_vector_without_a_start_is_refused_by_name() -> None:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.speed = nn.Parameter(torch.empty(3))

    with pytest.raises(UserError, match=r"`speed` of Part is not a matrix, and no scheme knows what it starts from"):
        XavierInit().apply(nn.Sequential(Part()), Sizes(3, 0, 1), 0)


def test_a_shared_parameter_has_the_role_of_its_first_place() -> None:
    model = DecoderConfig(width=16, layers=1).build(11)
    assert roles(model)["embed.weight"] == "table"
    assert not any("head" in name for name in roles(model))
