"""A training at work: what the loop asks for beside the updates. Restore, validate, save, recover.

Tested in tests/training/test_loop.py.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from transduce.data.loader import Cursor, Loader
from transduce.data.readers.reader import Readers
from transduce.disk import replace_text
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.objectives.objective import Objective
from transduce.runs import base, checkpoint
from transduce.runs.generators import rng_state, set_rng_state
from transduce.runs.position import Position, from_state, to_state
from transduce.runs.recipe import Recipe
from transduce.runs.report import Report
from transduce.runs.run import Run
from transduce.runs.versions import made_with
from transduce.tasks.evaluate import Evaluation, evaluate, samples_text
from transduce.tasks.measures.measure import DRAWS, Measure
from transduce.tasks.task import Split
from transduce.training.health import first_bad, save_failure
from transduce.training.moving import Moving
from transduce.training.precision import autocast
from transduce.training.progress import Display
from transduce.training.watching import Update, Validation, Watch

ANSWERS = "answers.safetensors"  # of a model that learns from them in several updates, where these are under way
FAILURES = 3  # updates that may fail between two checkpoints
SHOWN = 3


@dataclass(frozen=True)
class Job:
    """A recipe, built: what is trained, and on what.

    measure: selects the best.
    remarks: sentences about the data that are said before a training.
    """

    recipe: Recipe
    measure: Measure
    readers: Readers
    model: Model
    objective: Objective
    loader: Loader
    valid: Split | None
    test: Split | None
    remarks: tuple[str, ...] = ()

    def validate(self, split: Split) -> Evaluation:
        """Returns the loss on all of a split, and predictions for some of it."""
        return self.measured(split, self.recipe.task.validation(self.recipe.generate), self.recipe.train.samples)

    def test_on(self, split: Split) -> Evaluation:
        """Returns all measures on all of a split, with intervals."""
        return self.measured(split, self.recipe.generate, None, self.recipe.reported(), DRAWS)

    def measured(
        self,
        split: Split,
        options: GenerateConfig,
        limit: int | None,
        more: tuple[Measure, ...] = (),
        draws: int = 0,
    ) -> Evaluation:
        """Evaluates the model on a split, in float32, and not compiled: decoding has other shapes at every step."""
        task, own = self.recipe.task, self.recipe.task.measures()
        if self.measure.kind not in ("loss", *(measure.kind for measure in own)):
            own = (*own, self.measure)
        eager = torch.compiler.set_stance("force_eager") if self.recipe.train.compile else nullcontext()
        with eager, parametrize.cached():  # an adapted weight is computed once
            return evaluate(
                task, self.model, self.objective, split, self.readers, options,
                limit=limit, measures=(*own, *more), draws=draws, shows=self.recipe.objective.shows,
            )  # fmt: skip


@dataclass
class Session:
    """A training under way: the job, what moves, and where it is written down and shown."""

    job: Job
    moving: Moving
    run: Run
    report: Report
    display: Display
    watch: Watch | None = None
    failure: Exception | None = field(default=None, init=False)  # that `watch` raised
    failures: int = field(default=0, init=False)  # since the last checkpoint
    deaf: bool = field(default=False, init=False)  # nobody reads what is displayed
    beside: dict[str, str] = field(default_factory=dict[str, str], init=False)  # see base.write
    saved: float = field(default_factory=time.monotonic, init=False)  # when it was written

    @property
    def save_every(self) -> int:
        config = self.job.recipe.train
        return config.save_every or config.validate_every

    def overdue(self) -> bool:
        """Says whether more time has passed since the last checkpoint than a kill may cost."""
        return time.monotonic() - self.saved > 60 * self.job.recipe.train.save_minutes

    def say(self, text: str) -> None:
        """Writes a line to the user and the log."""
        self.display.say(text)
        self.report.log(text)
        if self.display.screen.lost and not self.deaf:
            self.deaf = True
            self.report.log(
                f"standard output cannot be written any more ({self.display.screen.lost}); going on without"
            )

    def tell(self, event: Update | Validation) -> None:
        """Tells the watcher, whose random draws do not count, and whose failure waits until all is saved."""
        if self.watch is None or self.failure is not None:
            return
        rng = rng_state(self.moving.device)
        try:
            self.watch(event)
        except Exception as error:
            self.failure = error
            self.report.log(f"step {event.step}: the function that watches failed ({type(error).__name__}: {error})")
        finally:
            set_rng_state(rng, self.moving.device)

    def restore(self) -> Position:
        """Puts everything back as the newest intact checkpoint has it; before the first one, as it starts."""
        checkpoint.clean(self.run.checkpoints)
        saved = checkpoint.newest(self.run.checkpoints, self.say)
        if saved is None:
            torch.manual_seed(self.job.recipe.train.seed)
            self.report.rewind(0, 0)
            position = Position()
            self.beside = base.write(self.run.path, self.moving.still())
            self.save(position, regular=False)  # so that there is always one to go back to
            return position
        self.moving.load(saved)
        answers = saved / ANSWERS
        self.job.loader.restore(checkpoint.read_tensors(answers) if answers.exists() else {})
        state = checkpoint.read_state(saved)
        self.beside = base.recorded(state) or base.write(self.run.path, self.moving.still())
        position, rng = from_state(state)
        if changed := [
            f"{k} {v}, now {new}" for k, v in state.get("made_with", {}).items() if (new := made_with().get(k)) != v
        ]:
            self.say(f"made with {'; '.join(changed)}: the numbers may differ in their last bits from here on")
        set_rng_state(rng, self.moving.device)
        if position.best_step is not None and position.best_step != position.step:
            best = self.run.checkpoints / checkpoint.name(position.best_step)
            problem = checkpoint.fault(best) if best.exists() else "it is missing"
            if problem is not None:
                self.say(
                    f"the best checkpoint, {best.name}, cannot be used: {problem}; the next validation is the best"
                )
                position.best_step, position.best_score = None, None
        self.report.rewind(position.step, position.metrics_bytes)
        self.tidy(position)
        return position

    def validate(self, position: Position) -> bool:
        """Measures the model on the validation split, if there is one, and says whether it is the best so far.

        Training goes on as if nothing had been drawn.
        """
        job, step = self.job, position.step
        if job.valid is None:
            return False
        self.run.require_in_place()
        rng = rng_state(self.moving.device)
        with self.moving.averaged():
            evaluation = job.validate(job.valid)
        set_rng_state(rng, self.moving.device)
        self.report.metrics(step, evaluation.numbers())
        self.report.plot()
        replace_text(self.run.path / "samples" / f"{checkpoint.name(step)}.txt", samples_text(evaluation.samples))
        score = evaluation.score(job.measure)
        improved = math.isfinite(evaluation.loss) and (position.best_score is None or score > position.best_score)
        if improved:
            position.best_score, position.best_step, position.stale = score, step, 0
        else:
            position.stale += 1
        self.tell(Validation(step, evaluation, improved))
        self.say(f"step {step} on valid: {evaluation.line()}{'  (best)' if improved else ''}")
        self.display.samples(evaluation.samples[:SHOWN], job.recipe.task.tabular)
        return improved

    def save(self, position: Position, *, regular: bool) -> None:
        """Writes a checkpoint of this moment, which is healthy. regular: by schedule, so that rotation counts it."""
        self.run.require_in_place()
        path = self.run.checkpoints / checkpoint.name(position.step)
        position.metrics_bytes = self.report.flush(force=True)
        rng, state = rng_state(self.moving.device), self.job.loader.state(position.cursor)
        parts = self.moving.parts() | ({ANSWERS: state} if state else {})
        checkpoint.write(path, parts, to_state(position, rng, regular=regular, healthy=True, **self.beside))
        self.tidy(position)
        self.failures, self.saved = 0, time.monotonic()
        self.display.speed.pause()

    def tidy(self, position: Position) -> None:
        """Points `last` and `best` to their checkpoints (not validated yet: the last is the best); removes old ones."""
        config, best = self.job.recipe.train, position.step if position.best_step is None else position.best_step
        checkpoint.point(self.run.last, f"checkpoints/{checkpoint.name(position.step)}")
        checkpoint.point(self.run.best, f"checkpoints/{checkpoint.name(best)}")
        checkpoint.rotate(self.run.checkpoints, max(config.keep, config.average), {position.step, best})

    def recover(self, position: Position, micro: list[tuple[Cursor, Batch]], rng: dict[str, Tensor]) -> Position:
        """Deals with an update whose numbers are not finite: finds out why, keeps the batch, goes back, skips it.

        Raises UserError after repeated failure.
        """
        self.failures += 1
        step = position.step
        set_rng_state(rng, self.moving.device)
        reasons = {cursor: first_bad(self.job.model, self._total(batch)) for cursor, batch in micro}
        guilty = {c: r for c, r in reasons.items() if r} or dict.fromkeys(reasons, "the sum of the gradients")
        reason = next(iter(guilty.values()))
        batches = [batch for cursor, batch in micro if cursor in guilty]
        examples = [i for batch in batches for i in batch.examples]
        folder = self.run.path / "failures" / checkpoint.name(step)
        save_failure(folder, batches, {"step": step, "reason": reason, "batches": [list(c) for c in guilty]})
        listed = ", ".join(map(str, examples[:10])) + (", ..." if len(examples) > 10 else "")
        what = f"after step {step}, {reason} is not finite; the batch (examples {listed}) is kept in {folder}"
        self.report.log(what)
        if self.failures >= FAILURES:
            raise UserError(
                f"{what}. This was failure {self.failures} since the last checkpoint, so training has stopped; "
                "lower optimizer.learning_rate, set train.clip, or look at the examples"
            )
        skip = sorted({*position.skip, *guilty})
        position = self.restore()
        position.skip = sorted({*skip, *position.skip})
        self.say(f"{what}. Going on from step {position.step} without it")
        return position

    def _total(self, batch: Batch) -> Callable[[], Tensor]:
        device, config = self.moving.device, self.job.recipe.train

        def total() -> Tensor:
            with autocast(config, device):
                return self.job.objective(self.job.model, batch.to(device)).total

        return total
