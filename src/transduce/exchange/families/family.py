"""The contract of a family, and config.json read key by key."""

import functools
import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from transduce.errors import UserError
from transduce.exchange.table import Table
from transduce.model.architecture import EncoderDecoderConfig, Layers, ModelConfig
from transduce.model.architecture.layers import runs
from transduce.model.feedforward.feedforward import Activation
from transduce.model.positions.rotary import RotaryConfig

T = TypeVar("T")

# What no number depends on: training, generation (read elsewhere), bookkeeping, and what every class once had.
TRAINING = """architectures model_type transformers_version dtype torch_dtype _name_or_path name_or_path use_cache
    return_dict initializer_range initializer_factor output_attentions output_hidden_states gradient_checkpointing
    bos_token_id eos_token_id pad_token_id unk_token_id sep_token_id cls_token_id mask_token_id decoder_start_token_id
    forced_bos_token_id forced_eos_token_id is_decoder is_encoder_decoder add_cross_attention torchscript
    chunk_size_feed_forward id2label label2id problem_type num_labels finetuning_task task_specific_params
    tokenizer_class prefix pruned_heads hidden_dropout attention_dropout hidden_dropout_prob
    attention_probs_dropout_prob embd_pdrop attn_pdrop resid_pdrop embedding_dropout activation_dropout dropout
    classifier_dropout layerdrop pretraining_tp tie_encoder_decoder cross_attention_hidden_size output_past"""
HARMLESS = frozenset(TRAINING.split())
FREQUENCIES = (r"(^|\.)rotary_emb\.(\w+_)?inv_freq$",)
PLACES = r"(^|\.)position_ids$"
ACTIVATIONS: Mapping[str, Activation] = {
    "relu": "relu", "gelu": "gelu", "gelu_new": "gelu-tanh", "gelu_fast": "gelu-tanh", "gelu_pytorch_tanh": "gelu-tanh",
    "silu": "silu", "swish": "silu", "relu2": "squared-relu",
}  # fmt: skip


class Fields:
    """The keys of a config.json, each taken once; `done` refuses what was not understood.

    architecture: the class of transformers whose weights they are. tensors: the names of those in the files.
    """

    def __init__(self, data: Mapping[str, Any], architecture: str = "", tensors: Iterable[str] = ()) -> None:
        self.architecture, self.tensors = architecture, frozenset(tensors)
        self.data, self.left = data, {key: x for key, x in data.items() if key not in HARMLESS}

    def holds(self, name: str) -> bool:
        """Says whether the files have a tensor of this name, whatever stands before it."""
        return any(one == name or one.endswith(f".{name}") for one in self.tensors)

    def whole(self, key: str, default: int | None = None) -> int:
        """Returns a number of things, at least 1."""
        value = self.take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"config.json has {key}={value!r}; it must be a whole number, at least 1")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.take(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e300:
            raise UserError(f"config.json has {key}={value!r}; it must be a number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise UserError(f"config.json has {key}={value!r}; it must be true or false")
        return value

    def one_of(self, key: str, values: Mapping[str, T], default: str | None = None) -> T:
        value = self.take(key, default)
        if not isinstance(value, str) or value not in values:
            raise UserError(f"config.json has {key}={value!r}, which is not known here; known are {', '.join(values)}")
        return values[value]

    def take(self, key: str, default: Any = None) -> Any:
        """Returns the value of a key as it stands; the default where it is missing or null."""
        value = self.left.pop(key, None)
        return default if value is None else value

    def only(self, key: str, value: Any) -> None:
        """Takes a key that may only have one value."""
        stated = self.take(key, value)
        if stated != value:
            raise UserError(f"config.json has {key}={stated!r}, but only {value!r} is known here")

    def done(self) -> None:
        """Raises UserError if something is left that says anything."""
        left = [f"{key}={value!r}" for key, value in self.left.items() if value is not None and value is not False]
        if left:
            raise UserError(f"config.json has {', '.join(left[:3])}, which this family does not know")


class Family(ABC):
    """A model_type of config.json. One file in this folder may define several; they are found there.

    architectures: the classes whose weights are read here; the first is written, unless `architecture` says another.
    rank: where several families can express a model, the smallest comes first.
    more_heads: it knows heads beside the main one.
    sees: it reads pictures, so it has no tokeniser, and channels in the place of a vocabulary.
    hears: it reads sounds, so it has a reader of these, too.
    acts: it reads episodes, so it has no tokeniser, and the numbers of a state in that place.
    """

    model_type: ClassVar[str]
    architectures: ClassVar[tuple[str, ...]]
    rank: ClassVar[int] = 50
    more_heads: ClassVar[bool] = False
    sees: ClassVar[bool] = False
    hears: ClassVar[bool] = False
    acts: ClassVar[bool] = False

    @abstractmethod
    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        """Returns the model, and the number of tokens in its vocabulary.

        Raises UserError for what it cannot express.
        """

    @abstractmethod
    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        """Returns the config.json of a model (None: the family cannot express it)."""

    def express(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        """Returns the same; None, too, where a model has more heads than the family knows."""
        return None if model.heads and not self.more_heads else self.write(model, vocab_size)

    def architecture(self, model: ModelConfig) -> str:
        """Returns the class of transformers that a model is written for."""
        return self.architectures[0]

    @abstractmethod
    def table(self, model: ModelConfig) -> Table:
        """Returns which of its tensors are which."""

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        """Returns patterns of names, anywhere in which they may match, of tensors that files hold and no class reads.

        Those are tables that its class computes itself, versions, masks, and what a class of transformers lists as
        `_keys_to_ignore_on_load_unexpected`. By default they are the frequencies of rotary positions.
        """
        places = [model.positions, *(run.positions for layers in stacks_of(model) for run in runs(layers))]
        return FREQUENCIES if any(isinstance(one, RotaryConfig) for one in places) else ()


def stacks_of(model: ModelConfig) -> list[Layers]:
    """Returns the layers of a model, of both sides where it has two."""
    return [model.upper, model.lower] if isinstance(model, EncoderDecoderConfig) else [model.layers]


@functools.cache
def families() -> tuple[Family, ...]:
    """Returns one of every family in this folder, in the order in which they are tried to express a model."""
    package = importlib.import_module(__name__.rpartition(".")[0])
    modules = [
        importlib.import_module(f"{package.__name__}.{file.name}") for file in pkgutil.iter_modules(package.__path__)
    ]
    classes = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    concrete = [one for one in classes if issubclass(one, Family) and not inspect.isabstract(one)]
    return tuple(one() for one in sorted(concrete, key=lambda one: (one.rank, one.model_type)))
