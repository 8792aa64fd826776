"""The average of several runs, beside each of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from transduce.api.folders import require_new
from transduce.api.opening import load
from transduce.errors import UserError
from transduce.exchange.files import require_new as require_room
from transduce.runs import soup
from transduce.runs.run import Run
from transduce.runs.weights import assign, weights
from transduce.tasks.evaluate import Evaluation, evaluate
from transduce.tasks.measures.measure import Measure
from transduce.transducer import Transducer

AVERAGE = "average"


class Tasted(NamedTuple):
    """A run, or the average, measured on a split. used: it is in the average. loss: in nats per target."""

    name: str
    used: bool
    loss: float
    measure: str
    value: float


class Averaged(NamedTuple):
    """The run that was made. rows: of each run and of the average; none where the data could not be read."""

    run: Run
    rows: list[Tasted]
    unmeasured: str


def average(runs: Sequence[str | Path], out: str | Path, *, greedy: bool = False) -> Averaged:
    """Makes a run whose weights are the mean of those of the best checkpoints of runs that began with the same weights.

    greedy: put the best run on `valid` in first, and each other one, in the order of its measure, only where the
        average does not become worse by it.   Wortsman et al. 2022, recipe 1.
    Raises UserError for runs of other shapes, tokenisers or labels, and for greedy=True without data to measure on.
    """
    paths = [Path(run) for run in runs]
    if len(paths) < 2:
        raise UserError(f"an average takes two runs or more, and {len(paths)} is given; name others")
    if twice := [path for i, path in enumerate(paths) if path.resolve() in [one.resolve() for one in paths[:i]]]:
        raise UserError(f"{twice[0]} is given twice; name each run once")
    require_room(require_new(Path(out)))
    parts = [soup.ingredient(path) for path in paths]
    for part in parts[1:]:
        soup.require_alike(parts[0], part)
    model, unmeasured, taster = load(paths[0], device="cpu"), "", None
    try:
        taster = Taster(model)
    except (UserError, OSError) as error:
        unmeasured = str(error)
        if greedy:
            raise UserError(f"a greedy average is chosen by its measure on valid, but {error}") from None
    scores = [] if taster is None else [taster.taste(part.weights) for part in parts]
    used = list(range(len(parts)))
    if greedy and taster is not None:
        used = chosen(parts, [score.key for score in scores], taster)
    mean, rows = soup.mean([parts[i].weights for i in used]), list[Tasted]()
    if taster is not None:
        pairs = zip(parts, scores, strict=True)
        rows = [Tasted(str(part.path), i in used, *one.values) for i, (part, one) in enumerate(pairs)]
        rows.append(Tasted(AVERAGE, True, *taster.taste(mean).values))
    record = {
        "runs": [parts[i].source for i in used], "greedy": greedy, "measured": [row._asdict() for row in rows],
    }  # fmt: skip
    return Averaged(soup.write(parts[0], mean, Path(out), record), rows, unmeasured)


class Scored(NamedTuple):
    """A measured model. key: larger is better, the loss last."""

    key: tuple[float, float]
    values: tuple[float, str, float]


class Taster:
    """Measures weights in the place of those of a model, on its validation split."""

    def __init__(self, model: Transducer) -> None:
        task, recipe = model.task, model.recipe
        splits = recipe.data.load(task.reads)
        if "valid" not in splits:
            raise UserError("the data has no split `valid`")
        self.model = model
        self.split = task.split("valid", splits["valid"], model.readers, recipe.batch, recipe.train.seed)
        self.objective = recipe.objective.build_for(model.model, model.readers.tokenizer)
        self.measure: Measure = task.selects(recipe.train.metric, splits["valid"], recipe.train.samples)[0]

    def taste(self, tensors: Mapping[str, Tensor]) -> Scored:
        """Returns the loss and the measure that chooses the best."""
        recipe = self.model.recipe
        assign(weights(self.model.model), dict(tensors))
        outcome: Evaluation = evaluate(
            recipe.task, self.model.model, self.objective, self.split, self.model.readers,
            recipe.task.validation(recipe.generate), limit=recipe.train.samples,
        )  # fmt: skip
        kind = self.measure.kind
        value = outcome.values[kind].value if kind in outcome.values else outcome.loss
        return Scored(outcome.score(self.measure), (outcome.loss, self.measure.label, value))


def chosen(parts: Sequence[soup.Ingredient], keys: Sequence[tuple[float, float]], taster: Taster) -> list[int]:
    """Returns the runs of a greedy soup."""
    best, *others = sorted(range(len(parts)), key=lambda i: keys[i], reverse=True)
    used, score = [best], keys[best]
    for i in others:
        key = taster.taste(soup.mean([parts[j].weights for j in (*used, i)])).key
        if key >= score:
            used, score = [*used, i], key
    return sorted(used)
