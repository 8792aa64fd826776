"""Texts of a form: a regular expression or a JSON schema says which token may come next.

The form is followed by llguidance (the extra `forms`), which knows after each token which of the others can still lead
to a text of the form. Tokens are bytes, so a character may be written in parts.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.inputs import Vocabulary
from transduce.text.tokenizer import BYTE_OF, Tokenizer

BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
BLANKS = {"whitespace_pattern": "[ \\n]"}  # one between parts of JSON; a weak model would go on with them
SPACE = "\u2581"  # in the place of a space in SentencePiece
_tables: "WeakKeyDictionary[Tokenizer, dict[int, Any]]" = WeakKeyDictionary()


class Form:
    """The rule that forbids what leads to no text of a form. It holds the states of the texts that were written."""

    def __init__(self, config: GenerateConfig, vocabulary: Vocabulary, ends: Sequence[int]) -> None:
        if not isinstance(vocabulary, Tokenizer):
            raise UserError("a form of text needs a model that writes text; leave out regex and json_schema")
        self.vocabulary, self.ends = vocabulary, [end for end in ends if end >= 0]
        if not self.ends:
            raise UserError("a form needs a model with a token that ends a text; leave out regex and json_schema")
        self.grammar = grammar_of(config)
        self.states = dict[tuple[int, ...], Any]()

    def __call__(self, x: Tensor, written: Any) -> Tensor:
        """Forbids tokens in the scores (R, V)."""
        rows = [tuple(row) for row in written.ids[:, written.ids.shape[1] - written.new :].tolist()]
        states = {row: self.after(row, x.shape[1]) for row in dict.fromkeys(rows)}
        masks = {row: mask_of(state, x.shape[1]) for row, state in states.items()}
        self.states = states
        allowed = torch.from_numpy(np.stack([masks[row] for row in rows])).to(x.device)
        return x.masked_fill(~allowed, -torch.inf)

    def after(self, ids: tuple[int, ...], size: int) -> Any:
        """Returns the state after these ids (None: no text of the form begins so). size: of the model's vocabulary."""
        if ids in self.states:
            return self.states[ids]
        if not ids:
            return begun(self.vocabulary, self.ends, size, self.grammar)
        before = self.after(ids[:-1], size)
        if before is None or before.is_stopped():
            return None
        state = before.deep_copy()
        return state if state.consume_token(ids[-1]) else None


def mask_of(state: Any, size: int) -> np.ndarray[Any, Any]:
    """Returns (V,) bool: the tokens that may come next. Raises UserError where the library gives up."""
    if state is None:  # a place of a beam that nothing fills
        return np.zeros(size, dtype=bool)
    bits = np.frombuffer(state.compute_bitmask(), np.uint8)
    if error := state.get_error():
        reason = " ".join(error.partition("<state>")[0].split())[:200]
        if reason.startswith("NoExtension"):  # no token goes on with a text of the form
            return np.zeros(size, dtype=bool)
        raise UserError(f"the form cannot be followed any further ({reason}); use a simpler one")
    return np.unpackbits(bits, bitorder="little")[:size].astype(bool)


def grammar_of(config: GenerateConfig) -> str:
    """Returns the grammar of a config, in the form of the library. Raises UserError where it is none."""
    matcher, grammar = library().LLMatcher, ""
    try:
        if config.regex is not None:
            grammar = cast(str, matcher.grammar_from_regex(config.regex))
        else:
            schema = json.loads(cast(str, config.json_schema))
            grammar = cast(str, matcher.grammar_from_json_schema(schema, defaults=BLANKS))
        error = cast(str, matcher.validate_grammar(grammar))
    except (ValueError, RecursionError) as problem:
        error = str(problem)
    if error:
        name = "regex" if config.regex is not None else "json_schema"
        raise UserError(f"{name} cannot be followed ({' '.join(error.split())[:200]}); write it in another way")
    return grammar


def begun(vocabulary: Tokenizer, ends: Sequence[int], size: int, grammar: str) -> Any:
    """Returns the state before the first token."""
    table = _tables.setdefault(vocabulary, {})
    if size not in table:
        table[size] = library().LLTokenizer(library().TokenizerWrapper(Words(vocabulary, ends, size)))
    return library().LLMatcher(table[size], grammar, log_level=0)


class Words:
    """A vocabulary as the library asks for it."""

    def __init__(self, vocabulary: Tokenizer, ends: Sequence[int], size: int) -> None:
        self.eos_token_id, self.bos_token_id, self.vocabulary = ends[0], vocabulary.bos, vocabulary
        write = writer(vocabulary)
        silent = vocabulary.silent | set(ends) | set(range(vocabulary.vocab_size, size))
        self.tokens = [b"" if i in silent else write(i) for i in range(size)]
        self.special_token_ids = sorted(i for i in silent if i < size)
        for i in self.special_token_ids:
            self.tokens[i] = f"<[{i}]>".encode()

    def __call__(self, text: Any) -> list[int]:
        return self.vocabulary.encode(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)


def writer(vocabulary: Tokenizer) -> Callable[[int], bytes]:
    """Returns a function that gives the bytes that an id writes. Raises UserError for tokenisers of whole words."""
    names = vocabulary.tokenizer.id_to_token
    decoder = json.dumps(json.loads(vocabulary.tokenizer.to_str()).get("decoder"))
    if "ByteLevel" in decoder:
        return lambda i: bytes(BYTE_OF[c] for c in names(i) or "" if c in BYTE_OF)
    if any(kind in decoder for kind in ("WordPiece", "BPEDecoder", "null")):
        raise UserError("a form needs a tokeniser of bytes, characters or pieces, and this one writes whole words")
    spaces = SPACE in decoder or "Metaspace" in decoder

    def write(i: int) -> bytes:
        name = names(i) or ""
        if "ByteFallback" in decoder and (byte := BYTE.fullmatch(name)) is not None:
            return bytes([int(byte[1], 16)])
        return (name.replace(SPACE, " ") if spaces else name).encode()

    return write


def library() -> Any:
    """Returns llguidance. Raises UserError where it is not installed."""
    try:
        import llguidance
    except ImportError:
        raise UserError("regex and json_schema need llguidance; pip install 'transduce[forms]'") from None
    return llguidance
