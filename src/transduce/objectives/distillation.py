"""Learning from another model: from its probabilities, softened, and from its hidden states.

Tested in tests/objectives/test_distillation.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor

from transduce.config import kinds
from transduce.data.readers.reader import Readers
from transduce.disk import digest
from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.heads.head import Head, PooledHead, TokenHead
from transduce.model.heads.token_classes import TokenClassesHead
from transduce.model.layout import Layout, dense
from transduce.model.models import Model, without
from transduce.objectives.objective import Learner, Loss, Objective, ObjectiveConfig, model_of
from transduce.text.tokenizer import Tokenizer

CHUNK = 1024  # positions whose logits of both models exist at once
Opener = Callable[[Path], tuple[Model, Readers]]
openers = list[Opener]()  # of runs, by those who know what a run is


class Teacher(NamedTuple):
    """A run that another one learns from. mark: changes with its weights."""

    model: Model
    readers: Readers
    mark: str


@lru_cache(maxsize=2)
def opened(path: str, mark: str) -> Teacher:
    """Opens a run, once, to be read alone."""
    model, readers = openers[0](Path(path))
    return Teacher(model.eval().requires_grad_(requires_grad=False), readers, mark)


def mark_of(path: str) -> str:
    """Returns what changes with the weights of a run. Raises UserError where it is none."""
    done = Path(path) / "best" / "DONE"
    if not done.is_file():
        raise UserError(f"objective.teacher={path} is no run with a checkpoint; give the directory of one")
    return digest(done)


class Watched:
    """A learner, and the last batch that it was given with what it made of it."""

    def __init__(self, learner: Learner) -> None:
        self.learner, self.model = learner, model_of(learner)
        self.batch: Batch | None = None
        self.hidden: Tensor | None = None

    @property
    def head(self) -> Head | None:
        return self.learner.head

    @property
    def token_head(self) -> TokenHead:
        return self.learner.token_head

    @property
    def pooled_head(self) -> PooledHead:
        return self.learner.pooled_head

    @property
    def training(self) -> bool:
        return self.learner.training

    def arranged(self, layout: Layout) -> Layout:
        return self.learner.arranged(layout)

    def features(self, batch: Batch) -> Tensor:
        self.batch, self.hidden = batch, self.learner.features(batch)
        return self.hidden


class Distilled:
    """See `DistillationConfig`. inner: the objective of the targets themselves."""

    def __init__(self, config: "DistillationConfig", inner: Objective, tokenizer: Tokenizer | None) -> None:
        self.config, self.inner, self.tokenizer = config, inner, tokenizer
        self.teacher: Teacher | None = None

    def __call__(self, learner: Learner, batch: Batch) -> Loss:
        """Returns the sum over targets of all three parts; outside of training that of the targets alone."""
        if not learner.training:
            return self.inner(learner, batch)
        watched = Watched(learner)
        hard, config = self.inner(watched, batch), self.config
        assert watched.batch is not None
        assert watched.hidden is not None
        teacher = self.teacher or self.taught(watched.model)
        soft, apart = compared(watched.model, watched.hidden, teacher.model, watched.batch, config.temperature)
        total = config.soft * config.temperature**2 * soft + config.hard * hard.total
        total = total if apart is None else total + config.cosine * apart
        metrics = {**hard.metrics, "teacher_kl": soft.detach()}
        return Loss(total, hard.count, metrics if apart is None else {**metrics, "teacher_cosine": apart.detach()})

    def taught(self, student: Model) -> Teacher:
        """Opens the teacher, on the device of the student. Raises UserError where one cannot learn from the other."""
        path = self.config.teacher
        teacher = opened(path, mark_of(path))
        teacher.model.to(student.device)
        if self.tokenizer is not None and text_of(teacher.readers.tokenizer) != text_of(self.tokenizer):
            way = f"add start={path}, or tokenizer.kind=file tokenizer.path={path}"
            raise UserError(f"objective.teacher={path} has another tokeniser than this model; {way}")
        require_alike(student, teacher.model, self.config)
        self.teacher = teacher
        return teacher


def text_of(tokenizer: Tokenizer | None) -> str:
    """Returns a tokeniser as text, to be compared."""
    return "" if tokenizer is None else tokenizer.tokenizer.to_str()


def require_alike(student: Model, teacher: Model, config: "DistillationConfig") -> None:
    """Raises UserError unless both models predict the same things of the same things."""
    start = f"objective.teacher={config.teacher}"
    if type(student) is not type(teacher):
        raise UserError(f"{start} is a {type(teacher).__name__}, this model a {type(student).__name__}; take one kind")
    if student.head is None or teacher.head is None or student.head.per != teacher.head.per:
        raise UserError(f"{start}: {without(teacher.head)}, of this model {without(student.head)}; take one kind")
    if student.head.size != teacher.head.size:
        what = f"{start} predicts one of {teacher.head.size:,} classes or tokens, this model of {student.head.size:,}"
        raise UserError(f"{what}; train both on the same labels, with the same tokeniser")
    widths = [width_of(model) for model in (student, teacher)]
    if config.cosine and widths[0] != widths[1]:
        what = f"{start} has hidden states of {widths[1]} features, this model of {widths[0]}"
        raise UserError(f"{what}; set objective.cosine=0, or model.width={widths[1]}")


@torch.no_grad()
def width_of(model: Model) -> int:
    """Returns the features of the last hidden states, of one token."""
    one, layout = torch.zeros(1, 1, dtype=torch.int64, device=model.device), dense(1, 1)
    return model.features(model.given(one, layout, one, layout).to(model.device)).shape[-1]


def compared(
    student: Model, hidden: Tensor, teacher: Model, batch: Batch, temperature: float
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Returns sums over targets: KL(teacher || student) at a temperature, and 1 - cosine of the hidden states.

    None: the hidden states are of other widths.
    """
    if batch.offset is not None:
        raise UserError("objective=distillation reads rows that begin anew; leave batch.carry out")
    if teacher.limit is not None and batch.inputs.shape[1] > teacher.limit:
        raise UserError(f"the teacher reads {teacher.limit} tokens; set batch.max_length={teacher.limit} or less")
    with torch.no_grad():
        states = teacher.features(batch)
    head, other = student.head, teacher.head
    if isinstance(head, PooledHead) and isinstance(other, PooledHead):
        layout = student.arranged(batch.layout)
        there = batch.targets >= 0
        weights = None if batch.weights is None else batch.weights[there]
        with torch.no_grad():
            target = other(states, teacher.arranged(batch.layout))[there]
        soft = divergence(head(hidden, layout)[there], target, temperature, weights)
        own, theirs = head.vector(hidden, layout)[there], other.vector(states, layout)[there]
        return soft, distance(own, theirs, weights)
    there = batch.targets.flatten() >= 0
    own, theirs = hidden.flatten(0, 1)[there], states.flatten(0, 1)[there]
    weights = None if batch.weights is None else batch.weights.flatten()[there]
    assert head is not None
    assert other is not None

    def part(x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        with torch.no_grad():
            target = other(y)
        return divergence(head(x), target, temperature, w)

    soft = hidden.new_zeros((), dtype=torch.float32)
    for i in range(0, len(own), CHUNK):
        w = None if weights is None else weights[i : i + CHUNK]
        piece = own[i : i + CHUNK], theirs[i : i + CHUNK], w
        soft = soft + cast(Tensor, torch.utils.checkpoint.checkpoint(part, *piece, use_reentrant=False))
    return soft, distance(own, theirs, weights)


def divergence(logits: Tensor, target: Tensor, temperature: float, weights: Tensor | None) -> Tensor:
    """Returns the sum over rows of KL(softmax(target / T) || softmax(logits / T)), in float32."""
    own, theirs = ((x.float() / temperature).log_softmax(-1) for x in (logits, target))
    each = F.kl_div(own, theirs, reduction="none", log_target=True).sum(-1)
    return (each if weights is None else each * weights).sum()


def distance(own: Tensor, theirs: Tensor, weights: Tensor | None) -> Tensor | None:
    """Returns the sum over rows of 1 - cosine; None: they are of other widths."""
    if own.shape[-1] != theirs.shape[-1]:
        return None
    each = 1 - F.cosine_similarity(own.float(), theirs.float(), dim=-1)
    return (each if weights is None else each * weights).sum()


@dataclass(frozen=True, kw_only=True)
class DistillationConfig(ObjectiveConfig):
    """soft T^2 KL(teacher || student) + hard (-log p(target)) + cosine (1 - cos(states)), for each target.

    Hinton et al. 2015, arXiv:1503.02531, sec. 2, with the weights of DistilBERT: Sanh et al. 2019, arXiv:1910.01108,
    sec. 3. Validation measures the objective of the targets alone.

    teacher: a run with the same tokeniser, of the same kind of model, which is read and not changed. It has to stay
        where it is, as it is.
    of: the objective whose targets they are, by its kind; auto: next-token, masked-lm, translation, classification or
        tagging, as the model has it.
    temperature: by which the logits of both are divided.
    soft: how much the probabilities of the teacher count.
    hard: how much the targets count.
    cosine: how much the direction of the last hidden states counts; 0 for models of other widths.
    """

    kind: ClassVar[str] = "distillation"
    shows: ClassVar[tuple[str, ...]] = ()
    teacher: str = ""
    of: str = "auto"
    temperature: float = 2.0
    soft: float = 5.0
    hard: float = 2.0
    cosine: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature={self.temperature} must be more than 0, such as 2")
        for name in ("soft", "hard", "cosine"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)} is negative or no number; use 0 to leave it out")

    def build_for(self, model: Model, tokenizer: Tokenizer | None) -> Objective:
        if not self.teacher:
            raise UserError("objective=distillation learns from a trained run; set objective.teacher=RUN")
        return Distilled(self, self.inner(model).build_for(model, tokenizer), tokenizer)

    def inner(self, model: Model) -> ObjectiveConfig:
        """Returns the objective of the targets. Raises UserError where there is none of that kind."""
        known = kinds(ObjectiveConfig.folder)
        if self.of != "auto" and (self.of not in known or self.of == self.kind):
            others = ", ".join(name for name in known if name != self.kind)
            raise UserError(f"objective.of={self.of} is no other objective; use one of {others}")
        config = known[usual(model) if self.of == "auto" else self.of]()
        assert isinstance(config, ObjectiveConfig)
        if config.explores or config.referenced or config.in_batch:
            raise UserError(
                f"objective.of={self.of} has no targets that a teacher gives probabilities of; leave it out"
            )
        return config


def usual(model: Model) -> str:
    """Returns the kind of objective that a model with such a head usually has."""
    if isinstance(model.head, PooledHead):
        return "classification"
    if isinstance(model.head, TokenClassesHead):
        return "tagging"
    if not model.writes:
        return "masked-lm"
    return "translation" if len(model.towers()) > 1 else "next-token"
