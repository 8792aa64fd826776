"""How text is generated, as data."""

from dataclasses import dataclass

from transduce.errors import UserError


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """Greedy (the default), beam search (beam_size > 1), or sampling (temperature > 0).

    beam_size: hypotheses kept per input. nbest: how many are returned; when sampling, how many are drawn.
    max_new_tokens: at most this many tokens, the end of sequence included.
    max_length_ratio: with a source of n tokens, at most ceil(ratio * n) + 10; None: no such limit.
    length_penalty: a of ((5 + n) / 6)^a, by which log-probabilities are divided to rank hypotheses.   Wu et al. 2016,
    arXiv:1609.08144, eq. 14. 0: rank by the sum.
    temperature, top_k, top_p, min_p: see `generate.sample`. stop: texts that end a hypothesis.
    """

    beam_size: int = 1
    nbest: int = 1
    max_new_tokens: int = 128
    max_length_ratio: float | None = None
    length_penalty: float = 0.6
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("beam_size", "nbest", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} must be at least 1")
        if self.max_length_ratio is not None and not self.max_length_ratio >= 0:
            raise UserError(f"max_length_ratio={self.max_length_ratio} must not be negative; use 1.5, or null")
        if not -10 <= self.length_penalty <= 10:
            raise UserError(f"length_penalty={self.length_penalty} is not between -10 and 10; use 0.6, or 0 for none")
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"temperature={self.temperature} must be 0 (no sampling) or a positive number")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top_k={self.top_k} leaves no token to sample; use at least 1, or null for no limit")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p={self.top_p} must be above 0 and at most 1; use 0.9, or null for no limit")
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise UserError(f"min_p={self.min_p} must be between 0 and 1; use 0.05, or null for no limit")
        if "" in self.stop:
            raise UserError("a stop text is empty, which would stop before the first token; remove it")
        if half := next((text for text in self.stop if any("\ud800" <= c <= "\udfff" for c in text)), None):
            raise UserError(f"the stop text {half!r} is not UTF-8, so no model writes it; remove it")
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        if self.temperature > 0 and self.beam_size > 1:
            raise UserError(
                f"temperature={self.temperature} samples, and beam_size={self.beam_size} searches: choose one. "
                f"For several samples use beam_size=1 and nbest={self.beam_size}"
            )
        if self.temperature == 0:
            for name in ("top_k", "top_p", "min_p"):
                if getattr(self, name) is not None:
                    raise UserError(f"{name} acts on sampling, but temperature=0 does not sample; set temperature=1")
            if self.nbest > self.beam_size:
                raise UserError(
                    f"nbest={self.nbest} hypotheses need a beam of that size, but beam_size={self.beam_size}; "
                    f"set beam_size={self.nbest}, or a temperature to sample"
                )
