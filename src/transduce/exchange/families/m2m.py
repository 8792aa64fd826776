"""M2M-100, and NLLB without experts. Fan et al. 2021, arXiv:2010.11125; NLLB team 2022, arXiv:2207.04672."""

from typing import Any

from transduce.errors import UserError
from transduce.exchange.families.bart import Bart
from transduce.model.architecture import ModelConfig
from transduce.model.positions.absolute import LearnedConfig, SinusoidalConfig


class M2M100(Bart):
    model_type = "m2m_100"
    architectures = ("M2M100ForConditionalGeneration", "M2M100Model")
    vocab_size = 128112
    pre = True
    normed = False
    learned = False
    biased = False
    activation = "relu"
    scaled = True

    def positions(self, limit: int, pad: int | None) -> LearnedConfig | SinusoidalConfig:
        pad = 1 if pad is None else pad  # the first token stands behind the place of padding
        if isinstance(pad, bool) or not 0 <= pad < limit:
            raise UserError(f"config.json has pad_token_id={pad!r}; positions are counted from it, up to {limit}")
        usual = super().positions(limit, None)
        return SinusoidalConfig(limit=usual.limit, order="halves", offset=pad + 1, ends=True)

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        places = model.positions
        if not isinstance(places, SinusoidalConfig) or not 1 <= places.offset <= places.limit:
            return None
        data = super().write(model, vocab_size)
        return None if data is None else {**data, "pad_token_id": places.offset - 1}

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        return (r"(^|\.)embed_positions\.weights$", *super().silent(model))

    def writes(self, model: ModelConfig) -> bool:
        return False
