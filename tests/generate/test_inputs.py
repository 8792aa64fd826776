"""What is asked of a model gets the special tokens of training, and no more tokens than there are positions."""

import pytest
import torch

from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.inputs import Inputs, greatest, pad, prepare


def test_prompts_and_sources_get_what_they_lack(markov, letters) -> None:
    plain, reads = markov(), markov(reads=True)
    assert prepare(plain, letters, None, [[4, 5], []]) == Inputs(None, [[4, 5], [1]])
    bare = prepare(reads, letters, [[3], [3, 2]], None)
    assert bare == Inputs([[3, 2], [3, 2]], [[1], [1]])
    again = prepare(reads, letters, bare.sources, bare.prompts)
    assert again == bare  # what is there is not added once more
    assert prepare(reads, letters, [[3]], [[5]]) == Inputs([[3, 2]], [[1, 5]])


def test_what_does_not_suit_the_model_is_one_sentence(translator, decoder, letters) -> None:
    for ask, told in [
        (lambda: prepare(decoder, letters, [[3]], None), "has no encoder, so it reads no source; give the text as a p"),
        (lambda: prepare(decoder, letters, None, None), "give it a prompt, which may be empty"),
        (lambda: prepare(translator, letters, None, [[3]]), "give it a source"),
        (lambda: prepare(translator, letters, [[3]], [[1], [1]]), "1 sources but 2 prompts"),
    ]:
        with pytest.raises(UserError, match=told):
            ask()


def test_order_is_by_length_and_rows_are_chosen_together() -> None:
    inputs = Inputs([[3, 3, 2], [3, 2], [4, 2]], [[1], [1, 4], [1]])
    assert inputs.by_length() == [2, 1, 0]
    assert inputs.rows([2, 0]) == Inputs([[4, 2], [3, 3, 2]], [[1], [1]])
    assert Inputs(None, [[1, 4], [1]]).by_length() == [1, 0]


def test_the_least_of_all_limits_counts(markov) -> None:
    model, inputs = markov(), Inputs(None, [[1], [1, 4, 4]])
    assert greatest(model, GenerateConfig(max_new_tokens=9), inputs, None) == [9, 9]
    assert greatest(model, GenerateConfig(max_new_tokens=9, max_length=5), inputs, None) == [4, 2]
    assert greatest(model, GenerateConfig(max_new_tokens=9), inputs, [3, 30]) == [3, 9]
    model.limit = 4
    assert greatest(model, GenerateConfig(max_new_tokens=2), inputs, None) == [2, 2]
    for config, limits, told in [
        (GenerateConfig(max_new_tokens=3), None, "set max_new_tokens=2"),
        (GenerateConfig(max_length=3), None, "a prompt has 3 tokens, and max_length=3 counts them too"),
        (GenerateConfig(max_new_tokens=1), [1], "one number for each of 2 inputs"),
    ]:
        with pytest.raises(UserError, match=told):
            greatest(model, config, inputs, limits)


def test_padding_stands_on_the_right_and_is_named_in_the_layout() -> None:
    ids, layout = pad([[5], [6, 7, 8]], torch.device("cpu"))
    assert ids.tolist() == [[5, 0, 0], [6, 7, 8]]
    assert layout.valid.tolist() == [[True, False, False], [True] * 3]
    assert pad([[5, 6], [7, 8]], torch.device("cpu"))[1].valid.all()
