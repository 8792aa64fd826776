"""Marian, of which the models of OPUS-MT are. Junczys-Dowmunt et al. 2018, arXiv:1804.00344; Tiedemann 2020."""

from typing import Any

from transduce.errors import UserError
from transduce.exchange.families.bart import SIDES, Bart, Tie
from transduce.exchange.families.family import Fields
from transduce.exchange.table import Row, row
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.heads.none import NoHeadConfig


class Marian(Bart):
    model_type = "marian"
    architectures = ("MarianMTModel", "MarianModel")
    vocab_size = 58101
    normed = False
    learned = False

    def tables(self, fields: Fields, vocab_size: int) -> tuple[Tie, int, int | None]:
        target = fields.whole("decoder_vocab_size", vocab_size)
        tied = fields.flag("tie_word_embeddings", True)
        if not fields.flag("share_encoder_decoder_embeddings", True):
            return "output" if tied else "none", target, None if target == vocab_size else vocab_size
        if target != vocab_size:
            raise UserError(
                f"config.json has decoder_vocab_size={target} and vocab_size={vocab_size}, but one table for both"
            )
        return "all" if tied else "none", target, None

    def tied(self, model: EncoderDecoderConfig, vocab_size: int) -> dict[str, Any] | None:
        if model.tie_embeddings == "inputs":
            return None
        return {
            "vocab_size": model.source_vocab or vocab_size, "decoder_vocab_size": vocab_size,
            "share_encoder_decoder_embeddings": model.tie_embeddings == "all",
            "tie_word_embeddings": model.tie_embeddings != "none",
            "pad_token_id": None,  # what their class takes where nothing is said is beyond most vocabularies
        }  # fmt: skip

    def writes(self, model: ModelConfig) -> bool:
        return isinstance(model.head, NoHeadConfig)

    def ends(self, model: EncoderDecoderConfig) -> tuple[list[Row], tuple[tuple[str, str], ...]]:
        if model.tie_embeddings == "all":
            return super().ends(model)
        source, target = (f"model.{x}.embed_tokens.weight" for x in SIDES)
        rows = [row(source, "encoder.embed.weight"), row(target, "decoder.embed.weight")]
        if model.tie_embeddings == "output":
            return rows, (("lm_head.weight", target),)
        own = [row("lm_head.weight", "decoder.head.weight")] * (not isinstance(model.head, NoHeadConfig))
        return [*rows, *own], ()
