import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
import torch

from transduce.reproduce.ancestors.kneser_ney import KneserNey, discounts

BOS, EOS = 0, 1


def text(rows: int, symbols: int, seed: int) -> list[list[int]]:
    """Sentences of 0 to 9 words, few of them frequent."""
    generator = torch.Generator().manual_seed(seed)
    weights = 1.0 / torch.arange(1, symbols - 1)
    lengths = torch.randint(10, (rows,), generator=generator).tolist()
    return [(2 + torch.multinomial(weights, n, True, generator=generator)).tolist() if n else [] for n in lengths]


def by_hand(sentences: list[list[int]], symbols: int, order: int, history: tuple[int, ...], word: int) -> float:
    """The formula as it stands in Chen & Goodman, with dictionaries."""
    whole = [(BOS, *sentence, EOS) for sentence in sentences]
    grams = [Counter(s[i : i + n] for s in whole for i in range(len(s) - n + 1)) for n in range(order + 1)]

    def count(n: int) -> dict[tuple[int, ...], int]:
        if n == order:
            return {g: c for g, c in grams[n].items() if g != (BOS,)}
        kinds = defaultdict(set)
        for g in grams[n + 1]:
            kinds[g[1:]].add(g[0])
        begin = {g: c for g, c in grams[n].items() if g[0] == BOS and n > 1}
        return {g: len(firsts) for g, firsts in kinds.items()} | begin

    def p(history: tuple[int, ...], word: int) -> float:
        n = len(history) + 1
        c = count(n)
        n1, n2, n3, n4 = (sum(x == k for x in c.values()) for k in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2) if n1 else 0.5
        D = [y] * 3
        if n1 and n2 and n3:
            modified = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            D = modified if all(0 < d <= k for k, d in enumerate(modified, 1)) else D
        after = [x for g, x in c.items() if g[:-1] == history]
        lower = p(history[1:], word) if history else (word != BOS) / (symbols - 1)
        if not after:
            return lower
        freed = sum(D[min(x, 3) - 1] for x in after)
        own = c.get((*history, word), 0)
        return ((own - D[min(own, 3) - 1] if own else 0.0) + freed * lower) / sum(after)

    return p(history[-(order - 1) :] if order > 1 else (), word)


def test_a_case_worked_by_hand() -> None:
    """a b | a c, with a, b, c = 2, 3, 4, in bigrams.

    After a: b and c, once each. All bigrams: <s> a twice, a b, a c, b </s>, c </s> once, so n1 = 4, n2 = 1 and
    D = 4 / (4 + 2) = 2/3; n3 = 0, so it is one for all. Words: before a, b and c stands one word each, before </s> two:
    n1 = 3, n2 = 1, D = 3/5, and 5 different bigrams.
    """
    model = KneserNey([[2, 3], [2, 4]], 5, 2)
    freed = 4 * 3 / 5 / 5  # 4 different words
    one, end, uniform = (1 - 3 / 5) / 5, (2 - 3 / 5) / 5, 1 / 4
    words = {2: one, 3: one, 4: one, EOS: end}
    words = {w: p + freed * uniform for w, p in words.items()}
    assert sum(words.values()) == pytest.approx(1)
    after_a = model.next([2])
    assert float(after_a[3]) == pytest.approx((1 - 2 / 3) / 2 + 2 * (2 / 3) / 2 * words[3])
    assert float(after_a[EOS]) == pytest.approx(2 * (2 / 3) / 2 * words[EOS])
    assert float(after_a[BOS]) == 0.0
    first = model.next([BOS])
    assert float(first[2]) == pytest.approx((2 - 2 / 3) / 2 + (2 / 3) / 2 * words[2])
    second, last = float(after_a[3]), (1 - 2 / 3) + 2 / 3 * words[EOS]
    assert model.log_p([[2, 3]]) == pytest.approx([math.log(float(first[2])) + math.log(second) + math.log(last)])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [5, 60])
def test_it_is_the_formula(order: int, rows: int) -> None:
    symbols, sentences = 9, text(rows, 9, 0)
    model = KneserNey(sentences, symbols, order)
    for history in [(), (BOS,), (BOS, 2), (2,), (2, 3), (3, 2, 4), (8, 8, 8), (EOS,), (2, EOS)]:
        wanted = [by_hand(sentences, symbols, order, history, word) for word in range(symbols)]
        assert model.next(history).tolist() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("order", "rows", "symbols"), [(1, 50, 40), (3, 400, 40), (5, 400, 40), (3, 1, 40), (3, 40, 4)]
)
def test_probabilities_sum_to_one_after_any_history(order: int, rows: int, symbols: int) -> None:
    model, generator = KneserNey(text(rows, symbols, 1), symbols, order), torch.Generator().manual_seed(2)
    for _ in range(100):
        length = int(torch.randint(6, (1,), generator=generator))
        p = model.next(torch.randint(symbols, (length,), generator=generator).tolist())
        assert abs(float(p.sum()) - 1) <= 1e-9
        assert (p[1:] > 0).all()
        assert p[BOS] == 0


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_sentences_are_scored_word_by_word(order: int) -> None:
    model, new = KneserNey(text(50, 12, 3), 12, order), [*text(9, 12, 4), [11, 11, 10]]

    def slowly(sentence: Sequence[int]) -> float:
        read = [BOS, *sentence, EOS]
        return sum(math.log(float(model.next(read[:t])[read[t]])) for t in range(1, len(read)))

    assert model.log_p(new) == pytest.approx([slowly(sentence) for sentence in new], abs=1e-10)


def test_longer_histories_help_where_there_is_something_to_remember() -> None:
    """After 2 3 comes 4, after 5 3 comes 6: bigrams cannot know."""
    sentences = [[2, 3, 4], [5, 3, 6], [7, 8], [8, 7]] * 5
    scores = [sum(KneserNey(sentences, 9, order).log_p(sentences)) for order in (1, 2, 3)]
    assert scores == sorted(scores)
    assert float(KneserNey(sentences, 9, 3).next([2, 3])[4]) > 0.8


def test_discounts_are_those_of_the_counts_of_counts() -> None:
    counts = torch.tensor([1] * 10 + [2] * 4 + [3] * 2 + [4] + [9] * 3 + [0] * 7)
    y = 10 / 18
    assert discounts(counts).tolist() == pytest.approx([0, 1 - 2 * y * 4 / 10, 2 - 3 * y * 2 / 4, 3 - 4 * y / 2])
    assert discounts(torch.tensor([1, 1, 2, 7])).tolist() == pytest.approx([0, 0.5, 0.5, 0.5])  # no 3
    assert discounts(torch.tensor([3, 3])).tolist() == [0, 0.5, 0.5, 0.5]


def test_nothing_to_count_is_refused() -> None:
    with pytest.raises(ValueError, match="order=0"):
        KneserNey([[2]], 3, 0)
    with pytest.raises(ValueError, match="0 sentences"):
        KneserNey([], 3, 2)
