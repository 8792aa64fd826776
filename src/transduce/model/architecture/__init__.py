"""The shape of a model as data, one kind of model per file."""

from transduce.model.architecture.base import ModelConfig
from transduce.model.architecture.decoder import DecoderConfig
from transduce.model.architecture.encoder import EncoderConfig
from transduce.model.architecture.encoder_decoder import EncoderDecoderConfig
from transduce.model.architecture.layers import LayerConfig, Layers

__all__ = ["DecoderConfig", "EncoderConfig", "EncoderDecoderConfig", "LayerConfig", "Layers", "ModelConfig"]
