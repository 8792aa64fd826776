"""One tokeniser for source and target, kept in a standard `tokenizer.json` that others read to the same ids."""

import functools
import json
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tokenizers

from transduce.config import Part, from_data, to_data
from transduce.errors import UserError, require_at_least, require_at_most
from transduce.text import words
from transduce.text.stream import TIDY, DecodeStream

if "TOKENIZERS_PARALLELISM" not in os.environ:  # chosen, so the library need not warn when a process forks;
    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # the threads stay behind, and a child waiting for them would hang
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: os.environ.update(TOKENIZERS_PARALLELISM="false"))

PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"
MARKS, ANSWERS = "marks.json", "answers.json"
SENTINEL = "<extra_id_{}>"  # as T5 calls them
SPECIALS = [PAD, BOS, EOS, UNK]  # ids 0, 1, 2, 3 of every tokeniser made here
MOST = 2**22  # tokens of a vocabulary: room for each is made beforehand


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Part):
    """A way to cut text into tokens.

    sentinels: tokens <extra_id_0>, <extra_id_1>, ... behind the vocabulary, each of which stands for a hidden span.
    specials: names of more tokens that are no text, such as <mask>, behind the vocabulary.
    """

    folder: ClassVar[str] = "transduce.text"
    sentinels: int = 0
    specials: tuple[str, ...] = ()

    def finished(self, tokenizer: tokenizers.Tokenizer) -> "Tokenizer":
        """Returns a tokeniser with the special tokens that were asked for behind its vocabulary. Raises UserError."""
        require_at_least(0, sentinels=self.sentinels)
        require_at_most(MOST, sentinels=self.sentinels)
        known, names = tokenizer.get_vocab(), [SENTINEL.format(i) for i in range(self.sentinels)]
        names += self.specials
        for number, name in enumerate(names):
            if not name.strip() or name in known or name in names[:number]:
                raise UserError(f"tokenizer.specials has {name!r}, which is a token already or blank; leave it out")
        own(tokenizer)
        tokenizer.add_special_tokens(names)  # type: ignore[arg-type]  # strings serve
        return Tokenizer(tokenizer)

    def train(self, texts: Iterable[str]) -> "Tokenizer":
        """Returns a tokeniser whose vocabulary is made for `texts`, the same one every time."""
        raise AssertionError("a kind of TokenizerConfig defines train")


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The special tokens of a published tokeniser, by id. eos: -1 where nothing ends a text.

    opens: stand before what a decoder writes: before a prompt, or where it answers a source.
    before, after: stand around a text that is read whole.
    silent: ids that are not text.
    rows: of the model's table, which may have more or fewer rows than the tokeniser has tokens.
    chat: a Jinja template, kept as it is.
    ends: end a text, beside eos.
    spare: the first of the ids without a row that stand for unknown words (None: it has no such ids).
    """

    pad: int
    bos: int
    eos: int
    unk: int | None = None
    opens: tuple[int, ...] = ()
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    silent: tuple[int, ...] = ()
    rows: int
    chat: str | None = None
    ends: tuple[int, ...] = ()
    spare: int | None = None


class Tokenizer:
    """Text to ids and back. Special tokens are added by whoever builds rows, never by `encode`.

    A special token that stands in the text ("</s>") is text like any other: nobody can end a sequence by writing it.
    marks: None for the special tokens of tokenisers made here. Raises UserError where one of them is missing.
    answers: what cuts the texts that a decoder writes; None: `tokenizer`, as nearly always.
    """

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, marks: Marks | None = None, answers: tokenizers.Tokenizer | None = None
    ) -> None:  # fmt: skip
        self.marks = marks or own(tokenizer)
        self.made_here = marks is None
        tokenizer.encode_special_tokens = True
        self.tokenizer, self.answers = tokenizer, answers
        if answers is not None:
            answers.encode_special_tokens = True
        self.pad, self.bos, self.eos, self.unk = self.marks.pad, self.marks.bos, self.marks.eos, self.marks.unk
        self.ends = self.marks.ends
        self._silent = frozenset((self.pad, self.bos, self.eos, *self.marks.silent))
        self._names = self._silent if self.unk is None else self._silent | {self.unk}
        last = max(tokenizer.get_vocab().values(), default=-1)
        if self.made_here and last >= self.vocab_size:
            size = f"{self.vocab_size} tokens, whose ids must be 0 to {self.vocab_size - 1}"
            raise UserError(f"the tokeniser has the id {last}, but only {size}; number them without gaps")
        self._beyond = last >= self.vocab_size

    @property
    def vocab_size(self) -> int:
        """Returns the number of tokens, special ones included: ids are 0 .. vocab_size - 1."""
        return self.marks.rows

    @property
    def silent(self) -> frozenset[int]:
        """Returns the ids that are not text."""
        return self._silent

    @property
    def folds(self) -> bool:
        """Says whether characters that look different are one to it, as in NFKC: the ligature of f and i, and both."""
        before = self.tokenizer.normalizer
        return before is not None and "fi" in before.normalize_str("\ufb01")

    @property
    def of_words(self) -> bool:
        """Says whether a token is a whole word, and decoding puts a space between words."""
        return isinstance(self.tokenizer.model, tokenizers.models.WordLevel)

    @property
    def barred(self) -> frozenset[int]:
        """Returns the ids that no text has, so that nothing that is generated may have them.

        Padding, the start, and what is unknown, unless it stands for a word; of a published tokeniser none, since its
        model must write what it writes elsewhere.
        """
        if not self.made_here:
            return frozenset()
        named = self.unk is None or isinstance(self.tokenizer.model, tokenizers.models.WordLevel)
        return frozenset({self.pad, self.bos} if named else {self.pad, self.bos, self.unk or 0}) - {self.eos}

    @property
    def mask(self) -> int:
        """Returns the token for a hidden one: [MASK] or <mask>; padding, which no text has, where it has neither."""
        ids = (self.tokenizer.token_to_id(name) for name in ("[MASK]", "<mask>"))
        return next((i for i in ids if i is not None), self.pad)

    @functools.cached_property
    def sentinels(self) -> tuple[int, ...]:
        """Returns the ids of <extra_id_0>, <extra_id_1>, ... in this order; of none, where there is no first one."""
        ids, number = list[int](), 0
        while (i := self.tokenizer.token_to_id(SENTINEL.format(number))) is not None:
            ids.append(i)
            number += 1
        return tuple(ids)

    def whole(self, text: str) -> list[int]:
        """Returns the ids of a text that is read whole, with the special tokens around it."""
        return [*self.marks.before, *self.encode(text), *self.marks.after]

    def encode(self, text: str) -> list[int]:
        """Returns the ids of `text`, without special tokens."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str], *, answers: bool = False) -> list[list[int]]:
        """Returns the ids of every text, in parallel. answers: they are what a decoder writes, in its language.

        Raises UserError for text that UTF-8 cannot write.
        """
        cut = self.answers if answers and self.answers is not None else self.tokenizer
        try:
            with library("cut the text"):
                rows = [e.ids for e in cut.encode_batch_fast(list(texts), add_special_tokens=False)]
        except TypeError:  # all that the library says about half of a surrogate pair
            for number, text in enumerate(texts):
                if half := next((c for c in text if "\ud800" <= c <= "\udfff"), None):
                    raise UserError(f"text {number} holds {half!r}, half of a character; remove it") from None
            raise
        except Exception as error:  # as of a vocabulary that lacks the token for what is unknown
            reason = " ".join(str(error).split())
            raise UserError(f"the tokeniser cannot cut a text ({reason}); fetch its files again") from None
        if (spare := self.marks.spare) is not None and self.unk is not None:
            rows = [[self.unk if i >= spare else i for i in ids] for ids in rows]
        if self._beyond and (most := max(map(max, filter(None, rows)), default=0)) >= self.vocab_size:
            size = self.vocab_size
            raise UserError(
                f"a text has the token {self._piece(most)}, id {most}, but the model's table ends at {size}"
            )
        return rows

    def encode_spans(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Returns the ids of every text, as `encode_batch` does, and the characters that each id stands for.

        Raises UserError as `encode_batch` does.
        """
        rows = self.encode_batch(texts)
        with library("cut the text"):
            encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [(ids, list(one.offsets)) for ids, one in zip(rows, encodings, strict=True)]

    def encode_flat(self, texts: Sequence[str], *, answers: bool = False) -> tuple[words.Ids, words.Index]:
        """Returns the ids of all texts, one behind the other, and how many each has: for much text.

        Raises UserError as `encode_batch` does.
        """
        encode = functools.partial(self.encode_batch, answers=answers)
        if self.stretches and not (answers and self.answers is not None):
            with suppress(UserError):  # which would name a word, not a text
                return self._words(texts)
        return words.whole(encode, texts)

    @functools.cached_property
    def stretches(self) -> bool:
        """Says whether a text may be cut at a line end between two characters that are seen, and its ids stay."""
        return words.stretches(self.tokenizer)

    @functools.cached_property
    def _words(self) -> words.Words:
        return words.Words(self.encode_batch)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of `ids`; padding, start and end are silent, bytes that are not UTF-8 become U+FFFD."""
        return self.decode_batch([ids])[0]

    def decode_batch(self, batch: Sequence[Sequence[int]]) -> list[str]:
        """Returns the text of every row of ids, in parallel."""
        silent = self._silent
        rows = [[i for i in ids if i not in silent] for ids in batch]
        with library("write the tokens as text"):
            return self.tokenizer.decode_batch(rows, skip_special_tokens=False)

    def stream(self) -> DecodeStream:
        """Returns a stream that decodes ids as they come; its texts, joined, are `decode` of them all."""
        return DecodeStream(self.decode, self._silent, *self._waits)

    @functools.cached_property
    def _waits(self) -> tuple[frozenset[int], bool]:
        """Returns ids of single bytes, where the decoder joins them, and whether it drops spaces before marks."""
        decoder = str(json.loads(self.tokenizer.to_str()).get("decoder"))
        names = self.tokenizer.get_vocab() if "ByteFallback" in decoder else {}
        runs = frozenset(i for byte in range(256) if (i := names.get(f"<0x{byte:02X}>")) is not None)
        return runs, f"'String': {TIDY[-1]!r}" in decoder

    def pieces(self, ids: Sequence[int]) -> list[str]:
        r"""Returns every token alone, for people: its text, `\\xe4` where it is a part of a character, <s> as it
        stands.
        """
        return [self._piece(i) for i in ids]

    def _piece(self, i: int) -> str:
        name = self.tokenizer.id_to_token(i)
        with library("write the tokens as text"):
            text = self.tokenizer.decode([i], skip_special_tokens=False)
        if name is None or i in self._names or "\ufffd" not in text:
            return name if name is not None and i in self._names else text
        values = [BYTE_OF[c] for c in name] if all(c in BYTE_OF for c in name) else None
        return bytes(values).decode("utf-8", "backslashreplace") if values else text

    def save(self, folder: str | Path) -> None:
        """Writes `folder`/tokenizer.json, the folder too where it is missing; for marks of a published one, marks.json
        too.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / "tokenizer.json").write_text(self.tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
        if self.answers is not None:
            (path / ANSWERS).write_text(self.answers.to_str() + "\n", encoding="utf-8")
        if not self.made_here:
            (path / MARKS).write_text(json.dumps(to_data(self.marks), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Tokenizer":
        """Returns what `save` wrote, or any tokenizer.json with the tokens <pad>, <s> and </s>. Raises UserError."""
        path = Path(folder) / MARKS
        if not path.exists():
            return cls(backend(Path(folder)))
        try:
            data: object = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path} cannot be read ({error}); restore it from a copy") from None
        answers = backend(Path(folder), ANSWERS) if (Path(folder) / ANSWERS).exists() else None
        return cls(backend(Path(folder)), from_data(Marks, data), answers)


@contextmanager
def library(what: str) -> Generator[None]:
    """Turns what a tokeniser cannot do into a UserError, a panic of the library included. what: its task."""
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        raise UserError(f"the tokeniser cannot {what} ({error}); repair its tokenizer.json, or use another") from None


def own(tokenizer: tokenizers.Tokenizer) -> Marks:
    """Returns the special tokens that go by our names, marked as such. Raises UserError where one is missing."""
    ids = {name: tokenizer.token_to_id(name) for name in SPECIALS}
    if missing := [name for name in SPECIALS[:3] if ids[name] is None]:
        raise UserError(f"the tokeniser has no token {missing[0]}; it needs {PAD}, {BOS} and {EOS}")
    present = [name for name, i in ids.items() if i is not None]
    tokenizer.add_special_tokens(present)  # type: ignore[arg-type]  # they are in the vocabulary already
    pad, bos, eos = (ids[name] or 0 for name in SPECIALS[:3])
    more = [i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special and i not in ids.values()]
    return Marks(
        pad=pad, bos=bos, eos=eos, unk=ids[UNK], opens=(bos,), after=(eos,), silent=tuple(sorted(more)),
        rows=tokenizer.get_vocab_size(),
    )  # fmt: skip


def backend(folder: Path, name: str = "tokenizer.json") -> tokenizers.Tokenizer:
    """Returns the tokenizer.json of a folder. Raises UserError."""
    path = folder / name
    try:
        data = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; a run or an exported model keeps its tokeniser there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); restore it from a copy") from None
    try:
        return tokenizers.Tokenizer.from_str(data)
    except BaseException as error:  # bare Exception for broken JSON and unknown fields, or a panic, which is none
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise UserError(f"{path} is not a tokeniser ({error}); restore it from a copy") from None


def byte_alphabet() -> dict[int, str]:
    """Returns the visible character that stands for each byte in a byte-level vocabulary.

    Radford et al. 2019 (GPT-2).
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [b for b in range(256) if b not in visible]
    return dict(sorted({b: chr(b) for b in visible}.items() | {b: chr(256 + n) for n, b in enumerate(hidden)}.items()))


BYTE_OF = {c: b for b, c in byte_alphabet().items()}
