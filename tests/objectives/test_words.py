"""Words of tokens: where they begin, for every way of cutting, and masked whole."""

import pytest
import torch

from transduce.model.batch import Batch
from transduce.model.layout import dense, right_padded
from transduce.objectives.masked import MaskedConfig, hidden
from transduce.objectives.words import edges, word_starts
from transduce.text.bpe import Bpe
from transduce.text.byte import Byte
from transduce.text.char import Char
from transduce.text.tokenizer import Tokenizer, TokenizerConfig
from transduce.text.unigram import Unigram
from transduce.text.word import Word

from .conftest import TEXT


@pytest.mark.parametrize("config", [Bpe(vocab_size=290), Unigram(vocab_size=290), Char(), Byte(), Word()], ids=str)
def test_a_word_begins_where_letters_do(config: TokenizerConfig) -> None:
    tokenizer = config.train([TEXT] * 3)
    ids = torch.tensor([tokenizer.encode("The dog met Nobody, unbelievably fast.")])
    starts = word_starts(ids, edges(tokenizer))[0].tolist()
    begun = [i for i, start in enumerate(starts) if start]
    words = [ids[0, i:j].tolist() for i, j in zip(begun, [*begun[1:], ids.shape[1]], strict=True)]
    read = [tokenizer.decode(word).strip() for word in words]
    assert [word for word in read if word] == ["The", "dog", "met", "Nobody", ",", "unbelievably", "fast", "."]


@pytest.mark.parametrize("training", [True, False])
def test_words_are_hidden_whole_as_many_as_fit(training: bool, tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    row = torch.tensor(tokenizer.encode(TEXT * 2))
    ids, words = row.expand(40, -1), edges(tokenizer)
    batch = Batch(ids, dense(*ids.shape), ids, examples=tuple(range(40)))
    config = MaskedConfig(mask=tokenizer.mask, never=tuple(tokenizer.silent), whole_words=True)
    made = hidden(batch, config, tokenizer.vocab_size, training, words)
    hides, number = made.targets >= 0, word_starts(ids, words).cumsum(1)
    for row_hides, row_number in zip(hides, number, strict=True):
        for word in row_number[row_hides].unique():
            assert row_hides[row_number == word].all()
    share = hides.float().mean()
    assert 0.1 < share <= 0.15 + 0.5 / len(row)
    assert len({tuple(one.tolist()) for one in hides}) > 30


def test_a_text_of_one_word_loses_it(tokenizer: Tokenizer) -> None:
    ids = torch.tensor([[tokenizer.bos, *tokenizer.encode("unbelievably")]])
    layout = right_padded(torch.tensor([ids.shape[1]]), ids.shape[1])
    config = MaskedConfig(mask=tokenizer.mask, never=tuple(tokenizer.silent), whole_words=True)
    made = hidden(Batch(ids, layout, ids), config, tokenizer.vocab_size, True, edges(tokenizer))
    assert (made.targets >= 0).tolist() == [[False] + [True] * (ids.shape[1] - 1)]
