"""An absurd value of any option of any part of a model: refused in a sentence, or it works; no traceback, no NaN."""

import math
import typing
from dataclasses import fields
from typing import Any

import pytest
import torch

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.objectives.objective import token_loss

NEEDED = {"adaptive": {"cutoffs": [3, 6]}, "classes": {"classes": 3}}  # keys without which a kind is not built
WHERE = {
    "mixer": "mixers", "embedding": "embed", "feedforward": "feedforward", "head": "heads", "init": "init",
    "norm": "norms", "positions": "positions", "residual": "residual",
}  # fmt: skip
VALUES: dict[type, list[float]] = {int: [0, -1], float: [0.0, -1.0, math.inf]}
SMALL: dict[str, Any] = {
    "width": 16, "layers": 1, "mixer": {"heads": 2}, "scale_embedding": False,
    "feedforward": {"kind": "mlp", "hidden": 8},
}  # fmt: skip


def parts() -> list[tuple[str, str]]:
    return [
        (key, kind)
        for key, folder in WHERE.items()
        for kind in kinds(f"transduce.model.{folder}")
        if (key, kind) not in (("mixer", "none"), ("head", "none"))  # which have no options
    ]


@pytest.mark.parametrize(("key", "kind"), parts())
def test_absurd_numbers_are_refused_or_work(key: str, kind: str) -> None:
    config = kinds(f"transduce.model.{WHERE[key]}")[kind]
    hints, ids = typing.get_type_hints(config), torch.randint(0, 11, (2, 5))
    whole = EncoderConfig if kind in ("block-sparse", "hierarchy") else DecoderConfig
    for field in fields(typing.cast(Any, config)):
        types = typing.get_args(hints[field.name]) or (hints[field.name],)
        for value in [value for type_, values in VALUES.items() if type_ in types for value in values]:
            part = {"kind": kind, **NEEDED.get(kind, {}), field.name: value}
            own = {"tie_embeddings": False} if key == "head" else {}
            try:
                model = from_data(whole, {**SMALL, **own, key: part}).build(11)
            except UserError:
                continue
            batch = Batch(ids, dense(2, 5), ids)
            hidden = model.features(batch)
            if key == "head" and model.head is None:
                continue
            if key == "head":
                assert model.head is not None
                given = (hidden,) if model.head.per == "token" else (hidden, batch.layout)
                result = model.head(*given).sum()
            else:
                result = token_loss(model, batch, 0.0).total
            result.backward()
            assert result.isfinite() or value == math.inf, f"{key}.{field.name}={value}"
