"""A small Transformer against counted n-grams on a few thousand sentences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor

from transduce.generate.score import score
from transduce.model.models import Model
from transduce.reproduce import draw
from transduce.reproduce.ancestors.kneser_ney import KneserNey
from transduce.reproduce.experiment import Experiment
from transduce.reproduce.fit import adam, decoder, fit, graded
from transduce.reproduce.mark import Mark, Measurements
from transduce.reproduce.sentences import UNK, Ends, Sentences, batch_of, mean_loss, step_by_step


@dataclass(frozen=True, kw_only=True)
class WordModels(Experiment):
    """10,000 sentences of at most 30 words, a vocabulary of 4,000; perplexity on 1,000 others, with </s> and <unk>."""

    kind: ClassVar[str] = "word-models"
    claim = "On ten thousand sentences a small Transformer predicts words better than Kneser-Ney trigrams."
    source = "Chelba et al. 2013, arXiv:1312.3005; Chen & Goodman 1998, TR-10-98"
    paper = "0.8 billion words: Kneser-Ney of order 5 perplexity 67.6, a recurrent network with n-gram features 51.3"
    marks = (
        Mark("perplexity, Transformer / Kneser-Ney", "<=", 1, proposed=True),
        Mark("probabilities that do not sum to 1", "<=", 1e-9),
        Mark("perplexity of the loss / of the scores, off 1 by", "<=", 1e-4),
        Mark("perplexity of the loss / step by step, off 1 by", "<=", 1e-4),
    )
    minutes = 5
    explain = (
        "It reads train.txt and valid.txt of a folder and draws its sentences from them by the seed; a sentence ends "
        "with its line or with a full stop. Sums to 1: of all words after 100 histories, half of them from the text "
        "and half random. The perplexity is found in three ways: as the loss of batches, from the scores of whole "
        "sentences, and reading 100 of them word by word."
    )
    order: int = 3
    vocabulary: int = 4000
    longest_sentence: int = 30
    sentences: tuple[int, int] = (10_000, 1_000)
    width: int = 128
    layers: int = 2
    heads: int = 4
    hidden: int = 256
    dropout: float = 0.1
    steps: int = 900
    rate: float = 2e-3
    batch: int = 32

    def measure(self, seed: int, data: Path | None) -> Measurements:
        text = Sentences.read(data, self.vocabulary, self.longest_sentence, self.sentences, seed)
        words = sum(len(sentence) + 1 for sentence in text.valid)
        values: Measurements = {"training sentences": len(text.train), "words to predict": words}
        values["unknown words"] = sum(sentence.count(UNK) for sentence in text.valid) / words
        counted = [KneserNey(text.train, len(text.words), order) for order in range(1, self.order + 1)]
        for model in counted:
            values[f"perplexity, order {model.order}"] = math.exp(-math.fsum(model.log_p(text.valid)) / words)
        values["probabilities that do not sum to 1"] = astray(counted[-1], text, seed)
        model = decoder(
            len(text.words), seed, width=self.width, layers=self.layers,
            mixer={"kind": "attention", "heads": self.heads}, feedforward={"kind": "mlp", "hidden": self.hidden},
            residual={"kind": "pre-norm", "dropout": self.dropout},
        )  # fmt: skip
        values["losses"] = draw.means(self.train(model, text, seed))
        loss = mean_loss(model, text.valid)
        values["perplexity, Transformer"] = math.exp(loss)
        last = values[f"perplexity, order {self.order}"]
        values["perplexity, Transformer / Kneser-Ney"] = values["perplexity, Transformer"] / last
        scores = math.fsum(each.total for each in score(model, Ends(), targets=text.valid)) / words
        values["perplexity of the loss / of the scores, off 1 by"] = abs(math.expm1(loss + scores))
        few = text.valid[:100]
        step_loss = math.fsum(step_by_step(model, few)) / sum(len(sentence) + 1 for sentence in few)
        values["perplexity of the loss / step by step, off 1 by"] = abs(math.expm1(mean_loss(model, few) + step_loss))
        return values

    def train(self, model: Model, text: Sentences, seed: int) -> list[float]:
        generator = torch.Generator().manual_seed(seed)

        def loss() -> Tensor:
            rows = torch.randint(len(text.train), (self.batch,), generator=generator)
            batch = batch_of([text.train[int(i)] for i in rows])
            has_target = batch.targets >= 0
            return graded(model.token_head(model.features(batch)[has_target]), batch.targets[has_target]).loss

        return fit(model, loss, self.steps, adam(model, self.rate))

    def plot(self, results: Sequence[Measurements]) -> Figure:
        figure, axes = draw.figure(
            {"title": "Training of the Transformer", "xlabel": "update", "ylabel": "loss (nats per word, mean of 10)"},
            {"title": "New sentences", "xlabel": "perplexity"},
        )
        draw.lines(axes[0], results, draw.UPDATES, {"Transformer": "losses"})
        orders = {f"Kneser-Ney, order {n}": f"perplexity, order {n}" for n in range(1, self.order + 1)}
        draw.bars(axes[1], results, {**orders, "Transformer": "perplexity, Transformer"}, ".1f")
        return figure


def astray(model: KneserNey, text: Sentences, seed: int) -> float:
    """Returns the greatest distance from 1 of the sum of all probabilities, after histories seen and unseen."""
    generator, histories = torch.Generator().manual_seed(seed), list[list[int]]()
    for _ in range(50):
        sentence = text.train[int(torch.randint(len(text.train), (1,), generator=generator))]
        end = int(torch.randint(len(sentence) + 1, (1,), generator=generator))
        histories.append([model.bos, *sentence[:end]])
        histories.append([int(i) for i in torch.randint(model.symbols, (model.order,), generator=generator)])
    return max(abs(float(model.next(history).sum()) - 1) for history in histories)
