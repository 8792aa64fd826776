"""The keys of a config class, and the one that a person most likely meant."""

import dataclasses
import difflib
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from transduce.config.part import Part, default_of, kinds

ALIASES = {
    "n_layer": "layers",
    "n_layers": "layers",
    "num_layers": "layers",
    "num_hidden_layers": "layers",
    "depth": "layers",
    "d_model": "width",
    "dim": "width",
    "hidden_size": "width",
    "n_embd": "width",
    "embed_dim": "width",
    "n_head": "heads",
    "n_heads": "heads",
    "num_heads": "heads",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "n_kv_heads": "kv_heads",
    "d_ff": "hidden",
    "ffn_dim": "hidden",
    "intermediate_size": "hidden",
    "lr": "learning_rate",
    "warmup": "warmup_steps",
    "num_warmup_steps": "warmup_steps",
    "batch_size": "batch_tokens",
    "max_tokens": "batch_tokens",
    "steps": "max_steps",
    "max_iters": "max_steps",
    "max_train_steps": "max_steps",
    "grad_clip": "clip",
    "max_grad_norm": "clip",
    "accumulation": "accumulate",
    "gradient_accumulation_steps": "accumulate",
    "num_beams": "beam_size",
    "beam": "beam_size",
    "wd": "weight_decay",
    "dtype": "precision",
    "bf16": "precision",
    "smoothing": "label_smoothing",
    "num_workers": "workers",
    "epochs": "max_epochs",
    "n_epochs": "max_epochs",
    "num_epochs": "max_epochs",
    "num_train_epochs": "max_epochs",
    "epoch": "max_epochs",
}  # fmt: skip  (what other toolkits call it: what we call it; used in error messages only)


def nearest(name: str, valid: list[str]) -> str | None:
    """Returns the valid name that a person most likely meant, or None."""
    if ALIASES.get(name) in valid:
        return ALIASES[name]
    if len(name) > 100:
        return None
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    return close[0] if close else None


def unknown_key(key: str, path: str, where: str, cls: type, data: Mapping[Any, Any]) -> str:
    """Returns the sentence for an unknown key: the same name below, else the nearest beside it, else below.

    data: the user's mapping, so that no key of a kind that was not chosen is suggested.

    Of equal names below, that of `train` comes first, then the first one.
    """
    if key.removeprefix("train.").startswith("resume"):
        return f"there is no `{path}`, and it is not needed: the same command goes on where it was stopped"
    here = {f.name: f"{where + '.' if where else ''}{f.name}" for f in dataclasses.fields(cls)}
    paths = sorted((p for p, _ in keys(cls, where, data)), key=lambda p: not p.startswith("train."))
    below = {p.rsplit(".", 1)[-1]: p for p in reversed(paths)}
    known_elsewhere = {name: p for name, p in below.items() if name == ALIASES.get(key)}
    same = {key: below[key]} if key in below else {}
    for valid in (known_elsewhere, same, here, below):  # what other toolkits call it says more than how it is spelt
        if (guess := nearest(key, list(valid))) is not None:
            return f"unknown key `{path}`; did you mean `{valid[guess]}`?"
    return f"unknown key `{path}`; the keys here are {', '.join(here)}"


def keys(cls: type, where: str = "", data: Any = None) -> Iterator[tuple[str, Any]]:
    """Yields every dotted key of a config class and its type.

    Of each part, those of the kind that `data` chooses, else of the default kind, or of all if there is none.
    """
    values = typing.cast("Mapping[str, Any]", data if isinstance(data, Mapping) else {})
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        path = f"{where}.{field.name}" if where else field.name
        hint, default = hints[field.name], default_of(field)
        yield path, hint
        value: Any = values.get(field.name)
        kind = typing.cast("Mapping[str, Any]", value).get("kind") if isinstance(value, Mapping) else value
        part = next((x for x in (hint, *typing.get_args(hint)) if isinstance(x, type) and issubclass(x, Part)), None)
        parts = {} if part is None else kinds(part.folder)
        if isinstance(kind, str) and kind in parts:
            yield from keys(parts[kind], path, value)
        elif dataclasses.is_dataclass(default) and not isinstance(default, type):
            yield from keys(type(default), path, value)
        elif default is dataclasses.MISSING:
            for part in parts.values():
                yield from keys(part, path)
