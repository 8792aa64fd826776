"""One tokeniser for source and target, kept in a standard `tokenizer.json` that others read to the same ids."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tokenizers

from transduce.config import Part
from transduce.errors import UserError
from transduce.text.stream import DecodeStream

if "TOKENIZERS_PARALLELISM" not in os.environ:  # chosen, so the library need not warn when a process forks;
    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # the threads stay behind, and a child waiting for them would hang
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: os.environ.update(TOKENIZERS_PARALLELISM="false"))

PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"
SPECIALS = [PAD, BOS, EOS, UNK]  # ids 0, 1, 2, 3 of every tokeniser made here


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Part):
    """How text is cut into tokens."""

    folder: ClassVar[str] = "transduce.text"

    def train(self, texts: Iterable[str]) -> "Tokenizer":
        """A tokeniser whose vocabulary is made for `texts`, the same one every time."""
        raise AssertionError("a kind of TokenizerConfig defines train")


class Tokenizer:
    """Text to ids and back. Special tokens are added by whoever builds rows, never by `encode`.

    A special token that stands in the text ("</s>") is text like any other: nobody can end a sequence by writing it.
    Raises UserError where `tokenizer` lacks one of the tokens <pad>, <s> and </s>.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        ids = {name: tokenizer.token_to_id(name) for name in SPECIALS}
        if missing := [name for name in SPECIALS[:3] if ids[name] is None]:
            raise UserError(f"the tokeniser has no token {missing[0]}; it needs {PAD}, {BOS} and {EOS}")
        present = [name for name, i in ids.items() if i is not None]
        tokenizer.add_special_tokens(present)  # type: ignore[arg-type]  # marks them; they are in the vocabulary
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self.pad, self.bos, self.eos = (tokenizer.token_to_id(name) or 0 for name in SPECIALS[:3])
        self.unk = ids[UNK]
        if (last := max(tokenizer.get_vocab().values())) >= self.vocab_size:
            size = f"{self.vocab_size} tokens, whose ids must be 0 to {self.vocab_size - 1}"
            raise UserError(f"the tokeniser has the id {last}, but only {size}; number them without gaps")
        self._silent = frozenset((self.pad, self.bos, self.eos))

    @property
    def vocab_size(self) -> int:
        """Number of tokens, special ones included: ids are 0 .. vocab_size - 1."""
        return self.tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without special tokens."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of every text, in parallel. Raises UserError for text that UTF-8 cannot write."""
        try:
            return [e.ids for e in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
        except TypeError:  # all that the library says about half of a surrogate pair
            for number, text in enumerate(texts):
                if half := next((c for c in text if "\ud800" <= c <= "\udfff"), None):
                    raise UserError(f"text {number} holds {half!r}, half of a character; remove it") from None
            raise

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; <pad>, <s> and </s> are silent, bytes that are no UTF-8 become U+FFFD."""
        return self.decode_batch([ids])[0]

    def decode_batch(self, batch: Sequence[Sequence[int]]) -> list[str]:
        """The text of every row of ids, in parallel."""
        silent = self._silent
        rows = [[i for i in ids if i not in silent] for ids in batch]
        return self.tokenizer.decode_batch(rows, skip_special_tokens=False)

    def stream(self) -> DecodeStream:
        """Decode ids as they come; what it gives, joined, is `decode` of them all."""
        return DecodeStream(self.decode, self._silent)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        r"""Every token alone, for people: its text, `\xe4` where it is a part of a character, <s> as it stands."""
        return [self._piece(i) for i in ids]

    def _piece(self, i: int) -> str:
        name = self.tokenizer.id_to_token(i)
        text = self.tokenizer.decode([i], skip_special_tokens=False)
        if name is None or name in SPECIALS or "\ufffd" not in text:
            return name if name in SPECIALS else text
        values = [BYTE_OF[c] for c in name] if all(c in BYTE_OF for c in name) else None
        return bytes(values).decode("utf-8", "backslashreplace") if values else text

    def save(self, folder: str | Path) -> None:
        """Write `folder`/tokenizer.json, the folder too where it is missing."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / "tokenizer.json").write_text(self.tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Tokenizer":
        """What `save` wrote, or any tokenizer.json with the tokens <pad>, <s> and </s>. Raises UserError."""
        path = Path(folder) / "tokenizer.json"
        try:
            data = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(f"{path} does not exist; a run or an exported model keeps its tokeniser there") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read ({error}); restore it from a copy") from None
        try:
            tokenizer = tokenizers.Tokenizer.from_str(data)
        except Exception as error:  # the library raises bare Exception for broken JSON and for fields it does not know
            raise UserError(f"{path} is not a tokeniser ({error}); restore it from a copy") from None
        return cls(tokenizer)


def byte_alphabet() -> dict[int, str]:
    """The visible character that stands for each byte in a byte-level vocabulary.   Radford et al. 2019 (GPT-2)."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [b for b in range(256) if b not in visible]
    return dict(sorted({b: chr(b) for b in visible}.items() | {b: chr(256 + n) for n, b in enumerate(hidden)}.items()))


BYTE_OF = {c: b for b, c in byte_alphabet().items()}
