"""When a loss or a gradient is not a number: who began it, and what was read."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from transduce.model.batch import Batch
from transduce.model.state import tensors
from transduce.runs import checkpoint


def first_bad(model: nn.Module, total: Callable[[], Tensor]) -> str | None:
    """Returns which module or gradient is the first that is not finite when `total` is computed and goes backward.

    None: everything is finite. Leaves the gradients empty.
    """
    bad: list[str] = []
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return f"the weight {name}"

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not bad and not all_finite(output):
                bad.append(f"the output of {name or 'the model'} ({type(module).__name__})")

        return hook

    def grad_watch(name: str) -> Callable[[Tensor], None]:
        def hook(parameter: Tensor) -> None:
            if not bad and parameter.grad is not None and not parameter.grad.isfinite().all():
                bad.append(f"the gradient of {name}")

        return hook

    modules = cast("Iterator[tuple[str, nn.Module]]", model.named_modules())
    handles: list[RemovableHandle] = [m.register_forward_hook(watch(n)) for n, m in modules]
    handles += [
        p.register_post_accumulate_grad_hook(grad_watch(n)) for n, p in model.named_parameters() if p.requires_grad
    ]
    model.zero_grad(set_to_none=True)
    try:
        with torch.compiler.set_stance("force_eager"):
            value = total()
            if not bad and not value.isfinite():
                bad.append("the loss")
            if not bad:
                value.backward()
    finally:
        for handle in handles:
            handle.remove()
        model.zero_grad(set_to_none=True)
    return bad[0] if bad else None


def all_finite(value: Any) -> bool:
    """Says whether every float in a nested tuple of tensors is a finite number."""
    if not isinstance(value, Tensor | tuple | list):
        return True
    return all(bool(x.isfinite().all()) for x in tensors(value) if x.is_floating_point())


def save_failure(folder: Path, batches: Sequence[Batch], about: dict[str, Any]) -> None:
    """Keeps the batches of a failed update, as tensors, and what is known about it."""
    folder.parent.mkdir(exist_ok=True)
    parts = {f"batch-{i}.safetensors": batch_tensors(batch) for i, batch in enumerate(batches)}
    checkpoint.write(folder, parts, {**about, "examples": [batch.examples for batch in batches]})


def batch_tensors(batch: Batch) -> dict[str, Tensor]:
    """Returns the tensors of a batch by name; those of its layouts by the names of their fields."""
    names = {"layout": "", "source_layout": "source_"}
    values = batch._asdict()
    pairs = (pair for name in batch._fields[:7] for pair in tensors_of(names.get(name, name), values[name]))
    return {name: value.contiguous() for name, value in pairs}


def tensors_of(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """Yields every tensor of a state with a name made of those of its fields, or of their numbers."""
    if isinstance(value, Tensor):
        yield name, value
    elif value is not None:
        fields: Sequence[str] = getattr(value, "_fields", None) or [str(i) for i in range(len(value))]
        before = name and f"{name.removesuffix('_')}_"
        for field, part in zip(fields, value, strict=True):
            yield from tensors_of(before + field, part)
