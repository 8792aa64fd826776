"""Drafts that are models of other runs, opened."""

from pathlib import Path

from transduce.config import kinds
from transduce.errors import UserError
from transduce.generate.draft.draft import DraftConfig
from transduce.generate.draft.run import Opened, RunConfig
from transduce.model.models import Model
from transduce.runs.opening import open_run
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.text.tokenizer import Tokenizer


def open_draft(draft: RunConfig, model: Model, tokenizer: Tokenizer, recipe: Recipe) -> Opened:
    """Returns the model of a draft. model, tokenizer, recipe: those that it guesses for.

    Raises UserError where there is no such run, it has another task, or its ids have another meaning.
    """
    if not (Path(draft.run) / "config.yaml").is_file():
        drafts = ", ".join(sorted(kinds(DraftConfig.folder).keys() - {RunConfig.kind}))
        raise UserError(
            f"draft={draft.run} is neither the directory of a run nor one of {drafts}; give the run of a smaller model"
        )
    opened = open_run(Run(Path(draft.run)), draft.checkpoint)
    own, other = (
        None if one is None else (one.vocab_size, one.bos, one.eos, one.tokenizer.get_vocab())
        for one in (tokenizer, opened.readers.tokenizer)
    )
    if own != other:
        size = 0 if other is None else other[0]
        raise UserError(
            f"the draft {draft.run} has another vocabulary ({size:,} tokens, and {tokenizer.vocab_size:,} here), so "
            f"its guesses would mean other texts; give a run with the same tokeniser, or draft=lookup"
        )
    if (kind := opened.recipe.task.kind) != recipe.task.kind:
        raise UserError(
            f"the draft {draft.run} was trained for task={kind}, and this model for task={recipe.task.kind}; give a "
            f"smaller run of the same task"
        )
    return Opened(model=opened.model.to(model.device).eval(), tokens=draft.tokens)
