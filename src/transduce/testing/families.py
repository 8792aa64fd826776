"""Checks of every family of checkpoints, against random models of transformers.

    theirs = saved("LlamaConfig", "LlamaForCausalLM", options, folder)  # a random model, its biases and norms too
    check_logits(theirs, folder)                                        # logits and every gradient
    check_padding(theirs, folder)                                       # on the left and on the right
    check_greedy(theirs, folder)                                        # token by token
    check_bytes(theirs, folder, out)                                    # written again, transformers opens it

Differences are at most TOLERANCE, in float32. `theirs` is the model of transformers. Our model decides the inputs: with
a source, or without one.
"""
# pyright: basic

import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.exchange import checkpoint
from transduce.exchange.files import Files
from transduce.model.batch import Batch
from transduce.model.layout import dense, left_padded, right_padded
from transduce.model.models import Model

TOLERANCE = 1e-4
ROWS, TOKENS = 3, 17
SPECIAL = 3  # ids 0, 1 and 2: padding, begin, end


def saved(
    config: str, model: str, options: dict[str, Any], folder: Path,
    change: Callable[[Any], object] = lambda theirs: None, **how: Any,
) -> Any:  # fmt: skip
    """Returns a random model of transformers, and saves it in a folder.

    config: the name of the class of its config.
    model: the name of its class.
    options: of the config.
    change: is called with the model before it is saved.
    how: options of saving.
    """
    import transformers

    torch.manual_seed(0)
    marks = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    settings = getattr(transformers, config)(**{**marks, **options})
    theirs = getattr(transformers, model)._from_config(settings, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    change(theirs)
    theirs.save_pretrained(folder, **how)
    return theirs


def ids(theirs: Any, rows: int = ROWS, tokens: int = TOKENS, seed: int = 1) -> Tensor:
    """Returns random ids, none of them special."""
    generator, size = torch.Generator().manual_seed(seed), theirs.config.vocab_size
    size = min(size, getattr(theirs.config, "decoder_vocab_size", size))  # Marian: ids of both sides
    return torch.randint(SPECIAL, size, (rows, tokens), generator=generator)


def arguments(batch: Batch) -> dict[str, Tensor]:
    """Returns the ids of a batch by the names of the arguments of transformers."""
    if batch.source is None:
        return {"input_ids": batch.inputs}
    return {"input_ids": batch.source, "decoder_input_ids": batch.inputs}


def logits_of(given: Any) -> Tensor | None:
    """Returns the logits of tokens, (B, T, V), under the name that a class gives them (None: it has no head)."""
    logits = getattr(given, "logits", None)
    logits = getattr(given, "prediction_logits", None) if logits is None else logits
    return logits[..., None] if logits is not None and logits.ndim == 2 else logits


def predicted(model: Model, hidden: Tensor) -> Tensor:
    """Returns the outputs of the head of a model for each token."""
    assert model.head is not None
    return model.head(hidden)


def check_logits(theirs: Any, folder: Path) -> None:
    """Compares the logits, or the hidden states of a model without a head, and the gradient of every tensor."""
    opened = checkpoint.read(folder)
    tokens = ids(theirs)
    batch = opened.model.given(tokens, dense(ROWS, TOKENS), ids(theirs, ROWS, 11, seed=2), dense(ROWS, 11))
    hidden = opened.model.features(batch)
    theirs.zero_grad()
    given = theirs(**arguments(batch))
    logits = logits_of(given)
    headless = logits is None
    expected = given.last_hidden_state if logits is None else logits
    ours = hidden if headless else predicted(opened.model, hidden)
    torch.testing.assert_close(ours, expected, atol=TOLERANCE, rtol=0)
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3)) / expected[0].numel() ** 0.5
    for y in (expected, ours):
        simple, wanted = headless or y.shape[-1] == 1, tokens[:, 1:].flatten()
        loss = (y * direction).sum() if simple else F.cross_entropy(y[:, :-1].flatten(0, 1), wanted)
        loss.backward()
    gradients = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in opened.model.named_parameters()}
    table, grads = opened.family.table(opened.config), {name: p.grad for name, p in theirs.named_parameters()}
    grads = as_saved(theirs, grads)
    wanted = {full: grads[name] for full, name in table.names(grads).items() if grads[name] is not None}
    converted: dict[str, Tensor] = {}
    for line in table.rows:
        tensors = line.op.write([gradients[name] for name in line.ours])
        converted |= dict(zip(line.theirs, tensors, strict=True))
    missing = wanted.keys() - converted.keys()
    assert not missing, f"gradients of {sorted(missing)[:5]} have no row"
    for name, gradient in wanted.items():
        ours = converted[name]
        torch.testing.assert_close(ours, gradient, atol=TOLERANCE, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


def as_saved(theirs: Any, gradients: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    """Returns gradients with the names and shapes that saved parameters have: experts are saved one by one."""
    if not any(name.endswith(".experts.gate_up_proj") for name in gradients):
        return gradients
    again = copy.deepcopy(theirs)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        for name, parameter in again.named_parameters():
            gradient = gradients[name]
            parameter.copy_(torch.zeros_like(parameter) if gradient is None else gradient)
        again.save_pretrained(folder)
        files = Files(Path(folder))
        return {name: files.read(name)[0].clone() for name in files.where}


def check_padding(theirs: Any, folder: Path) -> None:
    """Compares rows of 17, 9 and 1 tokens, or such sources, padded on the right; rows of decoders on the left too."""
    model = checkpoint.read(folder).model
    tokens, lengths, target = ids(theirs), torch.tensor([TOKENS, 9, 1]), ids(theirs, ROWS, 7, seed=2)
    for pad in (right_padded, left_padded):
        layout = pad(lengths, TOKENS)
        mask, batch, extra = layout.valid.long(), model.given(target, dense(ROWS, 7), tokens, layout), {}
        if batch.source is None:
            batch = Batch(tokens * mask, layout, tokens)
            extra = {"position_ids": layout.positions.clamp(min=0)} if model.writes else {}
        if pad is left_padded and not extra:
            continue  # transformers counts positions from the first slot, padding or not
        with torch.no_grad():
            try:
                given = theirs(**arguments(batch), attention_mask=mask, **extra)
            except TypeError:  # a class without position_ids finds positions by the mask
                given = theirs(**arguments(batch), attention_mask=mask)
            expected, hidden = logits_of(given), model.features(batch)
            y = hidden if expected is None else predicted(model, hidden)
            expected = given.last_hidden_state if expected is None else expected
        real = batch.layout.valid
        torch.testing.assert_close(y[real], expected[real], atol=TOLERANCE, rtol=0)


def check_greedy(theirs: Any, folder: Path, new: int = 12) -> None:
    """Compares tokens that are written one by one, with a cache on both sides."""
    model, forbidden = checkpoint.read(folder).model, 2  # the end, which min_new_tokens forbids
    how = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 0, "num_beams": 1}
    with torch.no_grad():
        given = ids(theirs, 2, 5)
        expected, batch = theirs.generate(given, **how), model.given(given, dense(2, 5), given, dense(2, 5))
        memory = model.remember(batch.source, batch.source_layout)
        prompt = given if memory is None else torch.full((2, 1), theirs.config.decoder_start_token_id)
        begun = prompt.shape[1]
        state, tokens, fed, layout = model.init_state(2, begun + new), prompt, prompt, dense(2, begun)
        for step in range(new):
            hidden, state = model.step(fed, layout, state, memory)
            logits = model.token_head(hidden)[:, -1]
            logits[:, forbidden] = -torch.inf
            fed = logits.argmax(-1, keepdim=True)
            tokens, layout = torch.cat([tokens, fed], 1), dense(2, 1, begun + step)
    assert torch.equal(tokens, expected), (tokens, expected)


def check_bytes(theirs: Any, folder: Path, out: Path) -> None:
    """Writes the model again: the tensors are the same, and transformers opens them and computes the same numbers."""
    opened = checkpoint.read(folder, None)
    family = checkpoint.write(opened.model, opened.config, opened.vocab_size, out, opened.family)
    before, after = Files(folder), Files(out)
    assert before.where.keys() == after.where.keys(), sorted(before.where.keys() ^ after.where.keys())
    for name in before.where:
        (a,), (b,) = before.read(name), after.read(name)
        assert a.dtype == b.dtype, name
        assert torch.equal(a, b), name
    assert family.model_type == json.loads((out / "config.json").read_text("utf-8"))["model_type"]
    how = theirs.config._attn_implementation
    again, info = type(theirs).from_pretrained(
        out, attn_implementation=how, output_loading_info=True, trust_remote_code=False, local_files_only=True
    )
    assert not info["missing_keys"], info
    tokens = ids(theirs)
    batch = opened.model.given(tokens, dense(ROWS, TOKENS), tokens, dense(ROWS, TOKENS))
    with torch.no_grad():
        given = [one(**arguments(batch)) for one in (theirs, again.eval())]
    expected, y = (x.last_hidden_state if logits_of(x) is None else logits_of(x) for x in given)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
