"""How text is generated, as data."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from transduce.errors import UserError
from transduce.generate.draft.draft import DraftConfig
from transduce.worlds.referees.referee import RefereeConfig

SAMPLING = ("top_h", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")  # in the order they act
MOST = 1e30  # that a bias adds; float32 ends at 3e38


@dataclass(frozen=True, kw_only=True)
class Bias:
    """A row of ids that is written more or less often: the score of its last id changes after the others.

    ids: the ids, in the order in which they are written.
    add: this number is added to the score.
    """

    ids: tuple[int, ...]
    add: float

    def __post_init__(self) -> None:
        if math.isfinite(self.add) and abs(self.add) > MOST:
            raise UserError(
                f"a bias adds {self.add:g} to a score, but at most {MOST:g} can be added; use a smaller number"
            )


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """Greedy (the default), beam search (beam_size > 1), or sampling (temperature > 0).

    Length is in tokens. What may be written: see `generate.rules`; how it is drawn: see `generate.sample`.

    beam_size: hypotheses kept per input.
    nbest: how many are returned; when sampling, how many are drawn.
    max_new_tokens: at most this many, the end of sequence included.
    max_length: at most this many with the prompt, or with what a decoder begins with (None: no such limit).
    max_length_ratio: with a source of n tokens, at most ceil(ratio * n) + 10 (None: no such limit).
    min_new_tokens: no end of sequence before there are so many new ones.
    min_length: no end of sequence before there are so many with the prompt.
    length_penalty: a in the length that divides a score: ((5 + n) / 6)^a or n^a; 0: hypotheses are ranked by the score
        alone.
    length_norm: that length: "gnmt", the first (Wu et al. 2016, arXiv:1609.08144, eq. 14), or "power", the second
        (transformers).
    early_stopping: None: what has ended keeps its place in the beam, and the search ends when all places have (Nematus,
        Marian). Else it leaves its place to others, and the search ends when beam_size have ended: at once ("full"), or
        when the best that grows ranks below them ("heuristic") or can no longer rank above them ("never"). These three
        are true, false and "never" in transformers.
    repetition_penalty: above 1, tokens of the prompt and of the output are less likely to be written again.
    no_repeat_ngram: so many tokens in a row, of the prompt and of the output, are not written twice (None: they may
        be).
    source_repetition_penalty: the same for tokens of the source, or of the prompt where there is no source.
    source_no_repeat_ngram: the same for so many tokens in a row of the source, or of the prompt where there is no
        source (None: they may be).
    suppress: ids never written.
    begin_suppress: ids never written first.
    bad_words: rows of ids never written one after the other.
    bias: ids that are written more or less often.
    forced_bos: the id that follows a beginning of one token (None: any).
    forced_eos: ids of which one stands at the greatest length.
    exponential_decay: (start, factor): after `start` tokens the end becomes likelier, by factor^(n - start) (None: it
        does not).
    renormalise: scores become log p again after all of these rules, which matters in beam search.
    replace_invalid: NaN and infinite scores become 0 and the greatest and least numbers.
    temperature: by which scores are divided before a token is drawn; 0: the likeliest token each time.
    top_h: draw from the likeliest tokens whose entropy is at most this share of that of all (None: from all).
    top_k: draw from so many likeliest tokens, and those as likely as the last of them (None: from all).
    top_p: draw from the likeliest tokens that hold this share of the probability (None: from all).
    min_p: draw from the tokens at least so likely, as a share of the likeliest one's probability (None: from all).
    typical_p: draw from the tokens whose surprise is nearest the expected one, up to this share of the probability
        (None: from all).
    epsilon_cutoff: draw from the tokens at least so likely (None: from all).
    eta_cutoff: the same, but less strict where many tokens are about as likely (None: from all).
    regex: a regular expression that what is written fits, from its first character to its last (None: any text).
    json_schema: a JSON schema, as text, that what is written fits (None: any text).
    referee: who says which words may come next, such as chess (None: any may).
    stop: texts that end a hypothesis, which is cut before them.
    seed: the same seed, the same text.
    precision: in which a model is read once it is opened, not while it is trained: fp32, bf16, int8, int4, or auto,
        the fastest on the machine at hand of those that change the loss by no more than 0.01 nats.
    draft: guesses at the next tokens, which the model reads at once: the same text in fewer steps, of one text at a
        time (None: none). Not in validation, where many are written at once.
    """

    beam_size: int = 1
    nbest: int = 1
    max_new_tokens: int = 128
    max_length: int | None = None
    max_length_ratio: float | None = None
    min_new_tokens: int = 0
    min_length: int = 0
    length_penalty: float = 0.6
    length_norm: Literal["gnmt", "power"] = "gnmt"
    early_stopping: Literal["heuristic", "full", "never"] | None = None
    repetition_penalty: float = 1.0
    no_repeat_ngram: int | None = None
    source_repetition_penalty: float = 1.0
    source_no_repeat_ngram: int | None = None
    suppress: tuple[int, ...] = ()
    begin_suppress: tuple[int, ...] = ()
    bad_words: tuple[tuple[int, ...], ...] = ()
    bias: tuple[Bias, ...] = ()
    forced_bos: int | None = None
    forced_eos: tuple[int, ...] = ()
    exponential_decay: tuple[float, ...] | None = None
    renormalise: bool = False
    replace_invalid: bool = False
    temperature: float = 0.0
    top_h: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None
    regex: str | None = None
    json_schema: str | None = None
    referee: RefereeConfig | None = None
    stop: tuple[str, ...] = ()
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16", "int8", "int4"] = "fp32"
    draft: DraftConfig | None = None

    def __post_init__(self) -> None:
        self._refuse_numbers()
        self._refuse_ids()
        if "" in self.stop:
            raise UserError("a stop text is empty, which would stop before the first token; remove it")
        if half := next((text for text in self.stop if any("\ud800" <= c <= "\udfff" for c in text)), None):
            raise UserError(f"the stop text {half!r} is not UTF-8, so no model writes it; remove it")
        self._refuse_contradictions()

    def _refuse_numbers(self) -> None:
        for name in ("beam_size", "nbest", "max_new_tokens", "max_length", "no_repeat_ngram", "source_no_repeat_ngram"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"{name}={value} must be at least 1")
        for name in ("min_new_tokens", "min_length"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}={getattr(self, name)} must not be negative")
        if self.max_length_ratio is not None and not self.max_length_ratio >= 0:
            raise UserError(f"max_length_ratio={self.max_length_ratio} must not be negative; use 1.5, or null")
        if not -10 <= self.length_penalty <= 10:
            raise UserError(f"length_penalty={self.length_penalty} is not between -10 and 10; use 0.6, or 0 for none")
        for name in ("repetition_penalty", "source_repetition_penalty"):
            if not 0 < (value := getattr(self, name)) < float("inf"):
                raise UserError(f"{name}={value} must be a positive number; use 1.2, or 1 for none")
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"temperature={self.temperature} must be 0 (no sampling) or a positive number")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k={self.top_k} leaves no token to sample; use at least 1, or null for no limit")
        for name, usual in {"top_p": 0.9, "typical_p": 0.9, "top_h": 0.4}.items():
            if (value := getattr(self, name)) is not None and not 0 < value <= 1:
                raise UserError(f"{name}={value} must be above 0 and at most 1; use {usual}, or null for no limit")
        for name, usual in {"min_p": 0.05, "epsilon_cutoff": 0.0003, "eta_cutoff": 0.0003}.items():
            if (value := getattr(self, name)) is not None and not 0 <= value <= 1:
                raise UserError(f"{name}={value} must be between 0 and 1; use {usual}, or null for no limit")

    def _refuse_ids(self) -> None:
        forced = self.forced_eos if self.forced_bos is None else (self.forced_bos, *self.forced_eos)
        rows = {
            "suppress": [self.suppress], "begin_suppress": [self.begin_suppress], "forced_bos and forced_eos": [forced],
            "bad_words": self.bad_words, "bias": [one.ids for one in self.bias],
        }  # fmt: skip
        for name, ids in rows.items():
            if any(i < 0 for row in ids for i in row):
                raise UserError(f"{name} holds a negative number, which is not an id; ids count from 0")
        if not all(self.bad_words) or not all(one.ids for one in self.bias):
            raise UserError("bad_words and bias hold a row without ids; give at least one id in each row")
        if any(one.add != one.add for one in self.bias):
            raise UserError("bias adds a number that is not a number (NaN); use 2.0, or -2.0")
        decay = self.exponential_decay
        if decay is not None and (len(decay) != 2 or not decay[0] >= 0 or not 0 < decay[1] < float("inf")):
            raise UserError(
                f"exponential_decay={list(decay)} must be two numbers, a length and a factor; use [20, 1.1]"
            )

    def _refuse_contradictions(self) -> None:
        if self.regex is not None and self.json_schema is not None:
            raise UserError("regex and json_schema both say what a text must look like; give one of them")
        if self.draft is not None and self.beam_size * self.nbest > 1:
            raise UserError(
                f"a draft guesses how one text goes on, but beam_size={self.beam_size} and nbest={self.nbest} write "
                f"{self.beam_size * self.nbest} of each input; set both to 1, or draft=null"
            )
        if self.temperature > 0 and self.beam_size > 1:
            raise UserError(
                f"temperature={self.temperature} samples, and beam_size={self.beam_size} searches: choose one. "
                f"For several samples use beam_size=1 and nbest={self.beam_size}"
            )
        if self.temperature == 0:
            for name in SAMPLING:
                if getattr(self, name) is not None:
                    raise UserError(f"{name} acts on sampling, but temperature=0 does not sample; set temperature=1")
            if self.nbest > self.beam_size:
                raise UserError(
                    f"nbest={self.nbest} hypotheses need a beam of that size, but beam_size={self.beam_size}; "
                    f"set beam_size={self.nbest}, or a temperature to sample"
                )


def require_ids(size: int, rows: Mapping[str, Iterable[int]]) -> None:
    """Raises UserError where an id is not one of a vocabulary of `size`. rows: the ids of each key of a config."""
    for name, ids in rows.items():
        if (most := max(ids, default=0)) >= size:
            raise UserError(f"{name} holds the id {most}, but the model's table has {size:,} rows; use a smaller one")
