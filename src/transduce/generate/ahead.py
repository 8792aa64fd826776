"""One text at a time, written ahead: what a draft guesses is read at once, and holds as far as it is what is chosen.

Each token is chosen as it would be without a draft, from the same logits to the bit and by the same uniform number, so
the text is the same; only the steps are fewer.
"""

import torch

from transduce.errors import UserError
from transduce.generate.choose import Choose
from transduce.generate.draft.draft import DraftConfig
from transduce.generate.hypothesis import Hypothesis
from transduce.generate.inputs import Inputs
from transduce.generate.reading import read_prompts, read_sources
from transduce.generate.search import NO_TOKEN, OnToken, Search, show
from transduce.model.layout import Layout
from transduce.model.models import Model
from transduce.model.trial import accepted, trying


@torch.inference_mode()
def run_ahead(
    model: Model, inputs: Inputs, search: Search, choose: Choose, draft: DraftConfig, on_token: OnToken | None = None
) -> list[list[Hypothesis]]:  # fmt: skip
    """Writes the hypothesis of one input, as `decode.run` does. To the bit only inside of `rows_alike`."""
    (text,), most, device = inputs.prompts, int(search.limits[0]), model.device
    source = None if inputs.sources is None else inputs.sources[0]
    memory = None if inputs.sources is None else read_sources(model, inputs.sources, same=True)
    room = len(text) + most + draft.tokens
    hidden, state, positions = read_prompts(model, inputs.prompts, room, memory, same=True)
    drafter, text, guesses = draft.begin(source, text, most), list(text), list[int]()
    pace, room = draft.tokens, len(text) + most - 1  # a last token is not read
    while True:
        right = 0
        for logits in model.token_head(hidden).split(1):
            choice = choose(logits, search)
            if on_token is not None:
                show(search, *choice[1:], on_token)
            move = search.advance(*choice)
            if move is None and not all(search.kept):
                raise UserError(NO_TOKEN)
            if move is None:
                return search.kept
            text.append(int(move.ids[0]))
            if right == len(guesses) or text[-1] != guesses[right]:
                break
            right += 1
        state, positions = accepted(state, right + 1), positions + right + 1
        pace = min(draft.tokens, pace + 2) if right == len(guesses) else max(1, right + 1)
        guesses = drafter.guess(text, min(pace, room - len(text)))
        ids = torch.tensor([[text[-1], *guesses]], device=device)
        with trying():
            y, state = model.step(ids, Layout(positions + torch.arange(ids.shape[1], device=device)), state, memory)
        hidden = y[0]
