"""BLEU is that of sacreBLEU, with words that suit the script."""

import numpy as np
import pytest

from transduce.errors import UserError
from transduce.tasks.measures.bleu import bleu_of, installed, resampled, tokenizer_for, words


def test_the_bleu_of_rows_that_are_drawn_is_that_of_their_texts() -> None:
    outputs = ["the cat sat on the mat", "a dog ran over the road", "it is a house of stone"]
    references = ["the cat sat on a mat", "a dog ran over the road", "that is a small house of stone"]
    of = resampled(outputs, references, "13a")
    for rows in ([0, 1, 2], [0, 0, 2], [1, 1, 1], [2]):
        expected = bleu_of([outputs[i] for i in rows], [references[i] for i in rows])[0]
        assert of(np.array(rows)) == pytest.approx(expected)


def test_bleu_is_that_of_sacrebleu_with_its_signature() -> None:
    score, signature = bleu_of(["the cat sat on the mat .", "a dog"], ["the cat sat on the mat .", "a dog"])
    assert score == pytest.approx(100)
    assert signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


TEXTS = {
    "13a": ["The cat sleeps.", "кошка спит в комнате", "고양이가 방에서 잔다", "η γάτα κοιμάται", "القط ينام"],
    "zh": ["猫在这个房间里睡觉。", "我 love 机器学习 very much", "他说他明天会来"],
    "ja": ["猫は部屋で寝ています。", "私はカタカナを読みます", "東京都に住んでいる"],
    "char": ["แมวนอนในห้อง", "ແມວນອນຢູ່ໃນຫ້ອງ", "ឆ្មាគេងក្នុងបន្ទប់", "ကြောင်အိပ်နေသည်"],
}


@pytest.mark.parametrize("name", list(TEXTS))
def test_the_tokeniser_of_bleu_suits_the_script(name: str) -> None:
    expected = {"ja": "ja-mecab" if installed("ja-mecab") else "char"}.get(name, name)
    for texts in ([text] for text in TEXTS[name]):
        if name != "char" or not installed("flores200"):
            assert tokenizer_for("auto", texts * 3) == expected
    for asked in ("13a", "intl", "zh", "char", "none"):
        assert tokenizer_for(asked, TEXTS[name]) == asked


@pytest.mark.parametrize("name", ["ja-mecab", "ko-mecab", "flores101", "flores200"])
def test_a_tokeniser_that_is_not_installed_is_refused_and_never_downloaded(name: str) -> None:
    if not installed(name):
        with pytest.raises(UserError, match=f"task.bleu_tokenizer={name} needs the packages .*; use auto or char"):
            tokenizer_for(name, ["x"])  # type: ignore[arg-type]


def test_right_chinese_has_100_and_wrong_has_little() -> None:
    texts = [f"猫在这个房间里睡觉第{i}天。" for i in range(20)]
    assert bleu_of(texts, texts, tokenizer_for("auto", texts))[0] == pytest.approx(100)
    almost = [text.replace("睡觉", "吃饭") for text in texts]
    assert 40 < bleu_of(almost, texts, tokenizer_for("auto", texts))[0] < 90
    assert bleu_of(["狗跑到外面去了"] * 20, texts, tokenizer_for("auto", texts))[0] < 3


@pytest.mark.parametrize(("text", "tokenizer", "count"), [
    ("2021-05-03", "13a", 1), ("a b  c", "13a", 3), ("a b c d", "intl", 4), ("猫在 a b", "zh", 4), ("แมว", "char", 3),
])  # fmt: skip
def test_words_are_what_bleu_takes_for_one(text: str, tokenizer: str, count: int) -> None:
    assert words(["x", text], tokenizer) == count
    assert words([], tokenizer) == 0
