"""Options of decoding that a caller gives, laid over those of a recipe.

Tested in tests/test_transducer.py.
"""

import dataclasses
from typing import Any, Literal, TypedDict

from transduce.config import kinds, nearest
from transduce.errors import UserError
from transduce.generate.config import SAMPLING, Bias, GenerateConfig
from transduce.generate.draft.draft import DraftConfig
from transduce.generate.draft.run import RunConfig
from transduce.generate.hypothesis import Norm
from transduce.worlds.referees.referee import RefereeConfig


class Options(TypedDict, total=False):
    """Options of decoding, see `GenerateConfig`; the recipe gives those that are left out."""

    beam_size: int
    max_new_tokens: int
    max_length: int | None
    max_length_ratio: float | None
    min_new_tokens: int
    min_length: int
    length_penalty: float
    length_norm: Norm
    early_stopping: Literal["heuristic", "full", "never"] | None
    repetition_penalty: float
    no_repeat_ngram: int | None
    source_repetition_penalty: float
    source_no_repeat_ngram: int | None
    suppress: tuple[int, ...]
    begin_suppress: tuple[int, ...]
    bad_words: tuple[tuple[int, ...], ...]
    bias: tuple[Bias, ...]
    forced_bos: int | None
    forced_eos: tuple[int, ...]
    exponential_decay: tuple[float, ...] | None
    renormalise: bool
    replace_invalid: bool
    temperature: float
    top_h: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    epsilon_cutoff: float | None
    eta_cutoff: float | None
    regex: str | None
    json_schema: str | None
    referee: RefereeConfig | None
    stop: tuple[str, ...]
    seed: int
    draft: DraftConfig | str | None


def decoding(config: GenerateConfig, nbest: int | None, options: Options) -> GenerateConfig:
    """Returns a recipe's settings of decoding with the options; where the two exclude each other, the options win."""
    over: dict[str, Any] = {**options, **({} if nbest is None else {"nbest": nbest})}
    if "precision" in over:
        raise UserError(f"precision={over['precision']} is chosen when a model is opened; use load(..., precision=)")
    names = [field.name for field in dataclasses.fields(config)]
    for name in over.keys() - set(names):
        guess = nearest(name, names)
        advice = f"did you mean `{guess}`?" if guess else f"the options are {', '.join(names)}"
        raise UserError(f"there is no option `{name}`; {advice}")
    if isinstance(draft := over.get("draft"), str):
        over["draft"] = named(draft)
    if over.get("beam_size", 1) > 1 or over.get("nbest", 1) > 1:
        over.setdefault("draft", None)
    if "max_new_tokens" in over:  # a limit of the output alone is not reduced by a limit of prompt and output
        over.setdefault("max_length", None)
    if over.get("min_new_tokens"):
        over.setdefault("min_length", 0)
    if over.get("beam_size", 1) > 1:
        over.setdefault("temperature", 0.0)
    if over.get("temperature", config.temperature) > 0:
        over.setdefault("beam_size", 1)
    else:
        over.setdefault("beam_size", max(config.beam_size, over.get("nbest", 1)))
        if "temperature" in over:
            over = {**dict.fromkeys(SAMPLING), **over}
    return dataclasses.replace(config, **over)


def named(word: str) -> DraftConfig | None:
    """Returns the draft that a word on the command line means: a kind, `none`, or the directory of a run."""
    if word in ("none", "null"):
        return None
    if word == RunConfig.kind:
        raise UserError("draft=run does not say which run; give the directory of a smaller one in place of `run`")
    kind = kinds(DraftConfig.folder).get(word)
    draft = RunConfig(run=word) if kind is None else kind()
    assert isinstance(draft, DraftConfig)
    return draft
