"""Two ways to compute one model, ours and that of transformers, asked the same questions.

The answers of each: its layers, the tokens that it writes greedily, and the ids of lines of text.
"""

import os
import warnings
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.exchange import tasked
from transduce.generate.config import SAMPLING, GenerateConfig
from transduce.generate.decode import decode
from transduce.model.batch import Batch
from transduce.model.heads.pooled import RowHead
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.text.published import PIECES
from transduce.text.tokenizer import Tokenizer


class Questions(NamedTuple):
    """The questions to both models.

    ids: (B, T), of the decoder, or of an encoder alone.
    source: (B, N), of the encoder of an encoder-decoder (None: the model has none).
    prompt: (1, P) ids, after which `new` tokens are written (0: none).
    lines: of text, to be encoded.
    """

    ids: Tensor
    source: Tensor | None
    prompt: Tensor
    new: int
    lines: Sequence[str]


class Answers(NamedTuple):
    """The answers of a model.

    layers: name -> (B, T, M), in order; the logits, if any, last.
    text: the ids that it wrote.
    ids: of every line.
    """

    layers: dict[str, Tensor]
    text: list[int]
    ids: list[list[int]]


class OwnModel:
    """A model of this package. before, after: ids around a line of text."""

    def __init__(
        self, model: Model, tokenizer: Tokenizer, before: Sequence[int] = (), after: Sequence[int] = ()
    ) -> None:  # fmt: skip
        self.model, self.tokenizer, self.before, self.after = model.eval(), tokenizer, before, after

    @torch.inference_mode()
    def answer(self, questions: Questions) -> Answers:
        layers = traced(self.model, questions.ids, questions.source)
        text = greedy(self.model, questions.prompt, questions.source, questions.new) if questions.new else []
        ids = [[*self.before, *row, *self.after] for row in self.tokenizer.encode_batch(list(questions.lines))]
        return Answers(layers, text, ids)


@torch.inference_mode()
def traced(model: Model, ids: Tensor, source: Tensor | None) -> dict[str, Tensor]:
    """Returns the tensors between the parts of a model, and its outputs: embeddings, layers, ends of stacks, heads."""
    with watching(model) as layers:
        around = None if source is None else dense(source.shape[0], source.shape[1])
        batch = Batch(ids, dense(ids.shape[0], ids.shape[1]), ids, source, around)
        hidden = model.features(batch)
        out = dict(layers)
        for head in model.heads.values():
            assert isinstance(head, RowHead)
            out["pooled"] = head.vector(hidden, batch.layout)
            out |= {} if head.output is None else {"pair": head(hidden, batch.layout)}
        if model.head is not None:
            out["logits"] = model.head(hidden) if model.head.per == "token" else model.head(hidden, batch.layout)
        return out


@contextmanager
def watching(model: Model) -> Generator[dict[str, Tensor]]:
    """Records the outputs of embeddings, blocks and stacks, in order, as long as the context is open."""
    layers, handles, passes = dict[str, Tensor](), list[Any](), Counter[str]()
    towers = model.towers()
    for n, (name, embed, stack) in enumerate(towers):
        prefix = f"{name} " if name else ""

        def embedded(module: nn.Module, inputs: Any, out: Any, prefix: str = prefix) -> None:
            layers.setdefault(f"{prefix}embedding", out)

        def passed(module: nn.Module, inputs: Any, out: Any, prefix: str = prefix) -> None:
            passes[prefix] += 1
            layers[f"{prefix}layer {passes[prefix]}"] = stream(out[0])

        def left(module: nn.Module, inputs: Any, out: Any, prefix: str = prefix) -> None:
            layers[f"{prefix}end"] = stream(out[0])

        if all(embed is not other.embed for other in towers[:n]):
            handles.append(embed.register_forward_hook(embedded))
        handles += [block.register_forward_hook(passed) for block in stack.blocks]
        handles.append(stack.register_forward_hook(left))
    try:
        yield layers
    finally:
        for handle in handles:
            handle.remove()


def stream(x: Any) -> Tensor:
    """Returns the residual stream; several tensors are put side by side."""
    return x if isinstance(x, Tensor) else torch.cat(list(x), -1)


@torch.inference_mode()
def greedy(model: Model, prompt: Tensor, source: Tensor | None, new: int) -> list[int]:
    """Returns `new` tokens, each the likeliest, with a cache; the end of sequence does not stop it."""
    around = None if source is None else dense(1, source.shape[1])
    memory = model.remember(source if source is None else source[:1], around)
    state, fed, start, out = model.init_state(1, prompt.shape[1] + new), prompt, 0, list[int]()
    for _ in range(new):
        hidden, state = model.step(fed, dense(1, fed.shape[1], start), state, memory)
        start, fed = start + fed.shape[1], model.token_head(hidden)[:, -1:].argmax(-1)
        out.append(int(fed))
    return out


def lacking(folder: Path) -> str:
    """Returns advice on a package that transformers needs for a folder's tokeniser, as part of a sentence, or ""."""
    pieces = not (folder / "tokenizer.json").exists() and any((folder / name).exists() for name in PIECES)
    if not pieces or find_spec("sentencepiece") is not None:
        return ""
    return "; for a tokeniser older than tokenizer.json it needs its package sentencepiece: pip install sentencepiece"


class TransformersModel:
    """The model of a folder as transformers computes it, in float32, with the attention that its class has by default.

    No code of the folder is run, and nothing is downloaded.
    architecture: the name of the class (None: that of config.json).
    Raises UserError where transformers cannot open the folder.
    """

    def __init__(self, folder: Path, architecture: str | None = None) -> None:
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        import transformers

        library = cast(Any, transformers)
        library.utils.logging.disable_progress_bar()
        try:
            self.config = library.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            cls = getattr(library, architecture or (self.config.architectures or ["AutoModel"])[0])
            how = {"dtype": torch.float32, "use_safetensors": True}
            self.model = cls.from_pretrained(folder, trust_remote_code=False, local_files_only=True, **how).eval()
            self.tokenizer = library.AutoTokenizer.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True
            )
            self.generation, self.own = library.GenerationConfig, getattr(self.model, "generation_config", None)
        except Exception as error:
            reason = str(error).strip().split("\n", 1)[0]
            kind = type(error).__name__
            raise UserError(f"transformers does not open {folder}: {kind}: {reason}{lacking(folder)}") from None

    @torch.inference_mode()
    def answer(self, questions: Questions) -> Answers:
        options = {"output_hidden_states": True}
        if questions.source is None:
            out = self.model(questions.ids, **options)
        else:
            out = self.model(input_ids=questions.source, decoder_input_ids=questions.ids, **options)
        layers: dict[str, Tensor] = {}
        stacks = {"": "hidden_states"} if questions.source is None else {
            "encoder ": "encoder_hidden_states", "decoder ": "decoder_hidden_states",
        }  # fmt: skip
        for prefix, name in stacks.items():
            hidden = list(getattr(out, name, None) or [])
            names = ["embedding", *(f"layer {i + 1}" for i in range(len(hidden) - 2)), "end"]
            layers |= {f"{prefix}{n}": x for n, x in zip(names, hidden, strict=False)}
        end = "end" if questions.source is None else "decoder end"
        of_rows = type(self.model).__name__.endswith(tasked.TEXTS)
        layers |= {n: x for n, x in outputs(out, questions.ids.shape[1], end, of_rows).items() if x is not None}
        writes = questions.new and "logits" in layers
        return Answers(layers, self.written(questions) if writes else [], self.ids(questions.lines))

    def written(self, questions: Questions) -> list[int]:
        """Returns the ids that the model writes greedily, without the folder's generation_config.json."""
        self.model.generation_config = self.generation(
            max_new_tokens=questions.new, do_sample=False, num_beams=1, pad_token_id=0, bos_token_id=0,
            decoder_start_token_id=int(questions.prompt[0, 0]), eos_token_id=None,
        )  # fmt: skip
        if questions.source is None:
            ids = self.model.generate(questions.prompt, attention_mask=torch.ones_like(questions.prompt))
        else:
            mask = torch.ones_like(questions.source[:1])
            ids = self.model.generate(questions.source[:1], attention_mask=mask, decoder_input_ids=questions.prompt)
        return ids[0, questions.prompt.shape[1] :].tolist()

    @torch.inference_mode()
    def by_settings(self, questions: Questions, new: int, ends: Sequence[int]) -> list[int] | None:
        """Returns the ids that the model writes with the folder's settings, except for sampling and length.

        None: transformers fails with these settings.
        """
        self.model.generation_config = self.own
        ids, more = questions.prompt, dict[str, Any]()
        if questions.source is not None:
            ids, more = torch.tensor([closed(questions.source, ends)]), {"decoder_input_ids": questions.prompt}
        how = {"max_new_tokens": new, "do_sample": False, "num_return_sequences": 1, "eos_token_id": list(ends) or None}
        try:
            with warnings.catch_warnings(action="ignore"):
                out = self.model.generate(ids, attention_mask=torch.ones_like(ids), **more, **how)
        except Exception:  # settings that transformers refuses, each in its own way
            return None
        return before_end(out[0, questions.prompt.shape[1] :].tolist(), ends)

    def ids(self, lines: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(list(lines))["input_ids"] if lines else []


def by_settings(
    model: Model, tokenizer: Tokenizer, config: GenerateConfig, questions: Questions, new: int
) -> list[int]:
    """Returns the ids that our model writes with these settings, except for sampling and length."""
    greatest = {"max_new_tokens": new, "max_length": None, "max_length_ratio": None, "temperature": 0.0, "nbest": 1}
    config = replace(config, **greatest, **dict.fromkeys(SAMPLING))
    source = None if questions.source is None else [closed(questions.source, [tokenizer.eos])]
    ((best,),) = decode(
        model, tokenizer, config, source=source, prompt=cast("list[list[int]]", questions.prompt.tolist())
    )
    return best.ids


def closed(source: Tensor, ends: Sequence[int]) -> list[int]:
    """Returns the first source, whose last token is replaced by the end that a model reads.

    (Another token might be one more than the model has positions for.)
    """
    row = cast("list[int]", source[0, :-1].tolist())
    return row if row[-1:] == list(ends[:1]) else [*row, *ends[:1]]


def before_end(ids: list[int], ends: Sequence[int]) -> list[int]:
    return ids[: next((n for n, i in enumerate(ids) if i in ends), len(ids))]


def outputs(out: Any, tokens: int, end: str, of_rows: bool = False) -> dict[str, Tensor | None]:
    """Returns the outputs of a class of transformers by our names.

    tokens: of a row.
    end: the name of the last hidden states.
    of_rows: the logits are those of classes of rows.
    """
    logits = getattr(out, "logits", getattr(out, "prediction_logits", None))
    if (ends := getattr(out, "end_logits", None)) is not None:  # of where an answer begins, and where it ends
        logits = torch.stack([out.start_logits, ends], -1)
    pair = getattr(out, "seq_relationship_logits", getattr(out, "sop_logits", None))
    if (
        logits is not None and logits.ndim == 2 and not of_rows
    ):  # one number a token (ELECTRA), or of a pair of sentences (BERT)
        logits, pair = (logits[..., None], pair) if logits.shape[1] == tokens else (None, logits)
    return {
        end: getattr(out, "last_hidden_state", None), "pooled": getattr(out, "pooler_output", None), "pair": pair,
        "logits": logits,
    }  # fmt: skip
