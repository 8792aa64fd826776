"""Every head with every objective and architecture: it trains, or is refused in one sentence."""

from typing import Any, cast

import pytest
import torch

from transduce.config import from_data, kinds, to_data
from transduce.data.answers import Compared
from transduce.errors import UserError
from transduce.model.architecture import ModelConfig
from transduce.model.batch import Batch
from transduce.model.heads.ctc import CtcHead
from transduce.model.heads.head import HeadConfig, PooledHead, TokenHead
from transduce.model.heads.joint import Joint
from transduce.model.heads.linear import LinearHeadConfig
from transduce.model.heads.pixels import PixelsHead
from transduce.model.heads.token_classes import TokenClassesHead
from transduce.model.heads.values import BinsHead, ValuesHead
from transduce.model.layout import dense
from transduce.objectives.objective import ObjectiveConfig
from transduce.text.byte import Byte

HEADS = [one for kind in kinds(HeadConfig.folder).values() for one in cast(type[HeadConfig], kind).examples()]
NEEDED: dict[str, Any] = {
    "classification": PooledHead, "regression": PooledHead, "tagging": TokenClassesHead, "span": TokenClassesHead,
    "multilabel": PooledHead, "contrastive": PooledHead, "sigmoid-contrast": PooledHead, "reward": PooledHead,
    "ctc": CtcHead,
    "act": TokenClassesHead | BinsHead | ValuesHead, "denoise": PooledHead | PixelsHead,
    "autoencode": PixelsHead,
    "distillation": (),  # of which a run is needed
    "denoising-autoencoder": (),  # of which maps beside the blocks are needed
}  # fmt: skip
SIZES: dict[str, Any] = {
    "width": 12, "layers": 1, "mixer": {"heads": 3}, "feedforward": {"hidden": 8}, "embedding": {"blank": True},
    "positions": "t5",
}  # fmt: skip


SOME = ("joint", "vector", "linear", "none")  # of two towers, which are one encoder to objectives that read no pairs
DRAWING = ("linear", "none", "pixels")  # of what draws pictures of 2 by 2 pixels with three channels
CASES = [
    pytest.param(head, objective, kind, id=f"{head.kind}-{objective}-{kind}")
    for head in HEADS
    for objective in kinds(ObjectiveConfig.folder)
    for kind in kinds(ModelConfig.folder)
    if (kind != "towers" or head.kind in SOME) and (kind != "listener" or head == LinearHeadConfig())
    if kind != "autoencoder" or (head.kind == "pixels" and getattr(head, "channels", 3) == 3)
    if kind != "illustrator" or (head.kind in DRAWING and getattr(head, "channels", 3) == 3)
]


@pytest.mark.parametrize(("head", "objective", "kind"), CASES)
def test_it_trains_or_says_why_not(head: HeadConfig, objective: str, kind: str) -> None:
    torch.manual_seed(0)  # dropout that takes the one number of a reward in both rows leaves no gradient
    tokenizer = Byte(sentinels=20, specials=("<mask>", "[R]", "[S]", "[X]")).train([])
    tied = {"tie_embeddings": "inputs" if kind == "encoder-decoder" else False}
    more = {"heads": {"value": "value"}} if objective == "ppo" else {}
    if kind == "towers":
        tied = {"channels": 1, "embedding": {"kind": "patches", "patch": 2, "picture": [4, 4]}, "positions": "none"}
    if kind == "illustrator":
        tied = {"channels": 3, "embedding": {"kind": "patches", "patch": 2, "picture": [2, 2]}, "positions": "none"}
    if kind == "autoencoder":
        tied = {"embedding": {"kind": "patches", "patch": 2, "picture": [2, 2]}, "positions": "none"}
    if kind == "listener":
        tied = {"source_vocab": 5, "embedding": {"kind": "frames"}, "positions": "sinusoidal"}
    data = {**SIZES, **tied, **more, "head": to_data(head)}
    made = cast(ModelConfig, from_data(cast(Any, kinds(ModelConfig.folder)[kind]), data))
    model = made.build(3 if kind == "autoencoder" else tokenizer.vocab_size)
    ids = torch.randint(5, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    targets = {
        "classification": torch.tensor([0, 0]), "regression": torch.ones(2, 1), "tagging": ids % 2,
        "span": torch.tensor([[0, 3], [1, 8]]), "contrastive": torch.tensor([0, 1]),
        "sigmoid-contrast": torch.tensor([0, 1]),
        "ctc": torch.tensor([[0, 1, 1], [1, -1, -1]]),
    }.get(objective, ids)  # fmt: skip
    if objective == "act":
        numbers = model.head.size if isinstance(model.head, ValuesHead) else 2
        targets = (
            ids[:, :3] % 2 if isinstance(model.head, TokenClassesHead) else ids[:, :3, None].expand(2, 3, numbers) % 2
        )
    if objective == "multilabel" and isinstance(model.head, PooledHead):
        targets = torch.zeros(2, model.head.size)
    source = torch.rand(2, 9, 5) if kind == "listener" else ids
    batch = model.given(ids, dense(2, 9), source, dense(2, 9))._replace(targets=targets)
    if objective in ("dpo", "orpo", "kto"):
        numbers = torch.arange(2)[:, None].expand(2, 9)
        batch = batch._replace(
            extra=Compared(numbers, torch.arange(18).view(2, 9), torch.full((2, 9), -4.0), 1 - numbers)
        )
    if objective in ("contrastive", "sigmoid-contrast"):
        batch = batch._replace(source=ids.flip(0), source_layout=dense(2, 9))
        if kind == "towers":
            batch = batch._replace(inputs=torch.rand(2, 1, 4, 4), layout=dense(2, 1))
    if kind == "illustrator" and objective == "denoise":
        batch = batch._replace(inputs=torch.rand(2, 3, 2, 2), layout=dense(2, 1), source=ids, source_layout=dense(2, 9))
    if kind == "autoencoder" and objective == "autoencode":
        batch = batch._replace(inputs=torch.rand(2, 3, 2, 2), layout=dense(2, 1), source=None, source_layout=None)
    suits = isinstance(model.head, NEEDED.get(objective, TokenHead))
    if objective == "sigmoid-contrast":
        suits = isinstance(model.head, Joint) and model.head.offset is not None
    if objective == "replaced-tokens":
        suits = model.head is not None and (model.head.size, model.head.per) == (1, "token")
    try:
        loss = cast(ObjectiveConfig, kinds(ObjectiveConfig.folder)[objective]()).build_for(model, tokenizer)(
            model, batch
        )
    except UserError as error:
        said = str(error)
        assert "\n" not in said
        assert f"objective={objective}" in said or said.startswith(
            ("this model hears frames", "this model draws", "this model makes pictures")
        )
        assert not suits or "model.kind=" in said or "two classes" in said
        return
    assert suits
    assert model.head is not None
    loss.total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    sure = objective in ("classification", "contrastive") and model.head.size == 1  # of one class, of one direction
    assert sure or any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("objective", ["dpo", "orpo", "kto", "contrastive", "sigmoid-contrast"])
def test_a_batch_of_another_task_is_refused(objective: str) -> None:
    tokenizer = Byte().train([])
    config = cast(ObjectiveConfig, kinds(ObjectiveConfig.folder)[objective]())
    heads = {"contrastive": {"kind": "vector"}, "sigmoid-contrast": {"kind": "joint", "offset": -10}}
    head = {"head": heads[objective]} if objective in heads else {}
    kind = cast(Any, kinds(ModelConfig.folder)["encoder" if head else "decoder"])
    model = cast(ModelConfig, from_data(kind, {**SIZES, "embedding": {}, **head})).build(tokenizer.vocab_size)
    ids = torch.randint(5, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match=f"objective={objective} .*use task="):
        config.build_for(model, tokenizer)(model, Batch(ids, dense(2, 9), ids))
