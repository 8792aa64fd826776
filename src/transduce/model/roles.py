"""Roles of parameters: from what each starts and how an optimiser moves it. Its module says so, no name does.

A module declares `roles`: the name of a parameter, its own or one beneath (`out.weight`), to its role; `"*"` stands for
all of them. What a module nearer to the parameter declares stands above what one around it does.

    matrix      a linear map; what is not declared and has two dimensions or more
    adds        a linear map that what a sublayer adds to the stream is linear in: of values, of gates
    writes      the last of them, whose result is added
    recurrent   a linear map from a state to itself
    score       the vector v of additive attention, e = v^T tanh(W q + U k)
    table       a vector for each token
    places      a vector for each position, which is added to those of tokens
    lookup      rows that are looked up, and all that encodings of position learn; it starts like a matrix
    widen       a linear map from an embedding to the width; it starts like a table
    head        the rows of a head of its own, one for each token
    gain        of a norm, about 1
    shift       of a norm, about 0
    bias        what a linear map adds; what is not declared and is called `bias`, or ends so
    vector      any other; where it starts, its module says in `start()`
"""

from collections.abc import Mapping
from typing import Literal, cast, get_args

from torch import nn

Role = Literal[
    "matrix",
    "adds",
    "writes",
    "recurrent",
    "score",
    "table",
    "places",
    "lookup",
    "widen",
    "head",
    "gain",
    "shift",
    "bias",
    "vector",
]
Roles = Mapping[str, Role]
NORM: Roles = {"weight": "gain", "bias": "shift"}
NONE: Roles = {}
TORCH: dict[type[nn.Module], Roles] = {nn.LayerNorm: NORM, nn.RMSNorm: NORM}  # of classes that are not ours


def roles(model: nn.Module) -> dict[str, Role]:
    """Returns the role of every parameter by its name, each once."""
    return {name: role(model, name, p) for name, p in model.named_parameters()}


def role(model: nn.Module, name: str, parameter: nn.Parameter) -> Role:
    """Returns the role of the parameter of that name."""
    module, rest = model, name
    answer: Role = "vector"
    if parameter.ndim >= 2:
        answer = "matrix"
    elif name.endswith("bias"):
        answer = "bias"
    while True:
        own = declared_by(module)
        answer = own.get(rest, own.get("*", answer))
        step, dot, below = rest.partition(".")
        if not dot:
            break
        module, rest = module.get_submodule(step), below
    assert answer in get_args(Role), f"{answer} is not a role"
    return answer


def declared_by(module: nn.Module) -> Roles:
    """Returns what a module itself declares."""
    own = cast("Roles | None", getattr(module, "roles", None))
    if own is not None:
        return own
    return next((roles for kind, roles in TORCH.items() if isinstance(module, kind)), NONE)
