"""Which tokens begin a word."""

import functools

import torch
from tokenizers import models
from torch import Tensor

from transduce.text.tokenizer import Tokenizer

CONTINUES = "##"  # in front of WordPiece tokens inside a word
BEGINS = ("\u2581", "\u0120")  # in front of SentencePiece and of byte-level tokens: a space


@functools.lru_cache(maxsize=8)
def edges(tokenizer: Tokenizer) -> tuple[Tensor, Tensor]:
    """Returns (V,) bool twice: the token begins inside a word where a word is before it, and ends with one."""
    inside, ends = list[bool](), list[bool]()
    names = [tokenizer.tokenizer.id_to_token(i) or "" for i in range(tokenizer.vocab_size)]
    parts = any(name.startswith(CONTINUES) for name in names)
    alone = isinstance(tokenizer.tokenizer.model, models.WordLevel)
    for name, text in zip(names, tokenizer.pieces(range(tokenizer.vocab_size)), strict=True):
        text = "" if alone else text.removeprefix(CONTINUES)
        inside.append(name.startswith(CONTINUES) if parts else text[:1].isalnum() and not name.startswith(BEGINS))
        ends.append(text[-1:].isalnum())
    return torch.tensor(inside), torch.tensor(ends)


def word_starts(ids: Tensor, edges: tuple[Tensor, Tensor]) -> Tensor:
    """Returns (B, T) bool: a word begins here. Letters and digits that follow one another are one word."""
    inside, ends = (edge.to(ids.device) for edge in edges)
    joins = inside[ids[:, 1:]] & ends[ids[:, :-1]]
    return torch.cat([torch.ones_like(ids[:, :1], dtype=torch.bool), ~joins], 1)
