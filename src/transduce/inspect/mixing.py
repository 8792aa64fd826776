"""The stages of one mixer and head: queries, keys, values, scores, their softmax, the sum, and all heads together.

Tested in tests/inspect/test_stages.py.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.inspect.looking import Place
from transduce.inspect.maps import map_of
from transduce.inspect.recording import Queried, Recording
from transduce.model.mixers.attention import Attention
from transduce.model.positions.position import Positions
from transduce.tune.prefix import PrefixedAttention


class Stage(NamedTuple):
    """A step of the computation.

    name: of the step. text: a sentence about it. rows: a label for each row. columns: labels (None: features).
    numbers: (T, N), -inf where a token is not seen (None: the sentence says all).
    """

    name: str
    text: str
    rows: Sequence[str] = ()
    columns: list[str] | None = None
    numbers: Tensor | None = None


class Read(NamedTuple):
    """A mixer on a text. rows: a label for each token that it reads. columns: for each that it looks at."""

    place: Place
    rows: list[str]
    columns: list[str]


def noted(read: Read, notes: Recording, texts: dict[str, str]) -> list[Stage]:
    """Returns the stages of the parts that were recorded. texts: by their names, a sentence about each."""
    parts = {name: notes[name] for name in texts}
    return [Stage(name, texts[name], read.rows, None, part) for name, part in parts.items() if part is not None]


def of_mixer(read: Read, notes: Recording, head: int) -> tuple[int, list[Stage]]:
    """Returns how many heads a mixer has, and its stages. Raises UserError for a head that is not there."""
    mixer = read.place.mixer
    if isinstance(mixer, Attention) and len(notes.queried) == 1:
        heads = notes.queried[0].q.shape[2]
        require_head(head, heads)
        return heads, of_attention(read, notes, mixer, notes.queried[0], head)
    kind = type(mixer).__name__
    text = f"This mixer, {kind}, does not compare queries with keys by a product: it has no stages of attention."
    out, heads = [Stage("query, key, value", text)], 1
    if len(notes.calls) == 1:
        means, weights = map_of(notes.calls[0])
        heads = len(weights)
        require_head(head, heads)
        says = {"weights": "The weights of head {}.", "derivative": "d y / d v of head {}."}
        text = says.get(means, "The norm of d y / d x.").format(head)
        out.append(Stage("map", f"{text} A row takes from its columns.", read.rows, read.columns, weights[head - 1]))
    return heads, out + noted(read, notes, {"projection": "What the mixer returns."})


def require_head(head: int, heads: int) -> None:
    if not 1 <= head <= heads:
        raise UserError(f"there is no head {head}; this mixer has {heads}")


def of_attention(read: Read, notes: Recording, mixer: Attention, given: Queried, head: int) -> list[Stage]:
    """Returns the stages of one head of attention."""
    columns = read.columns
    if isinstance(mixer, PrefixedAttention):
        seen, bias = mixer.among(given.q, given.layout, given.seen, given.whole, mixer.prefix.values)
        given = given._replace(seen=seen)
        columns = [*(f"prefix {i + 1}" for i in range(len(mixer.prefix.values))), *columns]
    else:
        bias = mixer.bias(given.q, given.layout, given.seen, given.whole)
    q, k, v = heads_of(mixer, given)
    q, k, v = q[head - 1], k[head - 1], v[head - 1]  # (T, D), (N, D), (N, E)
    scale = q.shape[-1] ** -0.5 if mixer.scale is None else mixer.scale
    scores, text = (q * scale) @ k.T, f"q . k of each pair, times {scale:.4g}"
    if mixer.softcap is not None:
        scores, text = mixer.softcap * (scores / mixer.softcap).tanh(), f"{text}, bent to at most {mixer.softcap:g}"
    if bias is not None:
        scores, text = scores + bias[0].expand(given.q.shape[2], -1, -1)[head - 1], f"{text}, and what positions add"
    seen = torch.ones_like(scores, dtype=torch.bool).tril() if given.seen.causal else None
    if given.seen.mask is not None:
        seen = given.seen.mask[0].expand(given.q.shape[2], *scores.shape)[head - 1]
    masked = scores if seen is None else scores.masked_fill(~seen, -torch.inf)
    weights = masked.softmax(-1).nan_to_num()  # a query that sees nothing takes nothing
    group = (head - 1) * given.seen.fields[0].shape[2] // given.q.shape[2] + 1
    rows, own = read.rows, f"of head {head}"
    shared = own if given.seen.fields[0].shape[2] == given.q.shape[2] else f"of key head {group}, which {own[3:]} uses"
    turned = "" if type(mixer.positions).turn is Positions.turn else ", turned by its place"
    text += "" if seen is None or bool(seen.all()) else "; a token that is not seen has no score"
    return [
        Stage("query", f"What each token asks for: the query {own}{turned}.", rows, None, q),
        Stage("key", f"What each token is found by: the key {shared}{turned}.", columns, None, k),
        Stage("value", f"What each token gives: the value {shared}.", columns, None, v),
        Stage("scores", f"{text}.", rows, columns, masked),
        Stage("softmax", "e to the scores, divided by the sum of the row: the weights.", rows, columns, weights),
        Stage("sum", "The values, each times its weight.", rows, None, weights @ v),
        *noted(read, notes, {
            "merge": f"The sums of all {given.q.shape[2]} heads, one behind the other.",
            "projection": "These, brought to the width of the stream by a linear map.",
        }),
    ]  # fmt: skip


def heads_of(mixer: Attention, given: Queried) -> tuple[Tensor, Tensor, Tensor]:
    """Returns queries, and keys and values as each query head meets them: (H, T, D), (H, N, D), (H, N, E)."""
    k, v = given.seen.fields
    q, repeat = mixer.positions.lean(given.q)[0].transpose(0, 1), given.q.shape[2] // k.shape[2]
    k, v = (x[0].transpose(0, 1).repeat_interleave(repeat, 0).to(q.dtype) for x in (k, v))
    return q, k, v
