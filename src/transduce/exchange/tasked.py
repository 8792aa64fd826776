"""The heads that classes of transformers put on an encoder for a task: labels of texts, tags of tokens, spans.

Such a class is a family with a head: its body is read and written as the family does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from transduce.config import kinds
from transduce.data.columns import ANSWERS, TAGS
from transduce.data.readers.answers import Answers
from transduce.data.readers.labels import Labels
from transduce.data.readers.reader import Reader
from transduce.data.readers.tags import Tags
from transduce.errors import UserError
from transduce.exchange.families.encoding import NO_HEAD, pair_of
from transduce.exchange.families.family import Family, Fields, families
from transduce.exchange.table import Row, Table, pair
from transduce.model.architecture import EncoderConfig, ModelConfig
from transduce.model.feedforward.feedforward import Activation
from transduce.model.heads.classes import ClassesHeadConfig
from transduce.model.heads.head import HeadConfig
from transduce.model.heads.token_classes import TokenClassesHeadConfig
from transduce.tasks.classifying import LABEL
from transduce.tasks.task import TaskConfig

TEXTS, TOKENS, SPANS = "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"
TASKS = {TEXTS: "classify", TOKENS: "tag", SPANS: "answer"}
USUAL = 2  # labels of a config.json that names none


class TextHead(NamedTuple):
    """The head of texts: what its two maps are called in files. inner: its dropout before the first map, too."""

    dense: str
    output: str
    activation: Activation = "tanh"
    inner: bool = False


TEXT_HEADS = {
    "bert": TextHead("bert.pooler.dense", "classifier"),
    "distilbert": TextHead("pre_classifier", "classifier", "relu"),
    "electra": TextHead("classifier.dense", "classifier.out_proj", "gelu", inner=True),
    **dict.fromkeys(
        ("roberta", "xlm-roberta", "camembert"), TextHead("classifier.dense", "classifier.out_proj", inner=True)
    ),
}  # fmt: skip
TOKEN_HEADS = {TOKENS: "classifier", SPANS: "qa_outputs"}


@dataclass(frozen=True)
class Tasked(Family):
    """A class with the head of a task. body: of what. ending: of its name."""

    body: Family
    ending: str

    @property
    def model_type(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.body.model_type

    @property
    def architectures(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (self.body.architectures[0].removesuffix("Model") + self.ending,)

    @property
    def task(self) -> str:
        return TASKS[self.ending]

    def read(self, fields: Fields) -> tuple[ModelConfig, int]:
        own, fields.architecture = fields.architecture, self.body.architectures[0]
        model, vocab_size = self.body.read(fields)
        fields.architecture = own
        assert isinstance(model, EncoderConfig)
        p = fields.data.get("classifier_dropout")
        p = fields.data.get("hidden_dropout_prob", 0.1) if p is None else p
        if self.ending == TEXTS:
            require_one_label(fields.data)
            heads = {} if self.pools else model.heads
            return replace(model, head=self.of_texts(len(names_of(fields.data)), p), heads=heads), vocab_size
        count = 2 if self.ending == SPANS else len(names_of(fields.data))
        return replace(model, head=TokenClassesHeadConfig(classes=count, dropout=p)), vocab_size

    @property
    def pools(self) -> bool:
        """Says whether the head of texts begins with the pooler of the family."""
        return "pooler" in TEXT_HEADS[self.model_type].dense

    def of_texts(self, classes: int, p: float) -> ClassesHeadConfig:
        """Returns the head of texts."""
        own = TEXT_HEADS[self.model_type]
        inner = p if own.inner else 0.0
        return ClassesHeadConfig(
            classes=classes, pool=("first",), hidden=True, activation=own.activation, pool_dropout=inner, dropout=p
        )  # fmt: skip

    def fits(self, head: HeadConfig, width: int) -> bool:
        """Says whether a head computes what that of this class does, apart from dropout."""
        if self.ending != TEXTS:
            if not isinstance(head, TokenClassesHeadConfig) or head.classes is None:
                return False
            return head.bias and (self.ending == TOKENS or head.classes == 2)
        if not isinstance(head, ClassesHeadConfig) or head.classes is None:
            return False
        same = self.of_texts(head.classes, 0.0)
        return replace(head, hidden=head.hidden in (True, width), dropout=0.0, pool_dropout=0.0) == same

    def write(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        if not isinstance(model, EncoderConfig) or not self.fits(model.head, model.width) or pair_of(model):
            return None
        if self.ending == TEXTS and self.pools and model.heads:
            return None
        data = self.body.express(replace(model, head=NO_HEAD), vocab_size)
        names = [f"LABEL_{i}" for i in range(getattr(model.head, "classes", None) or USUAL)]
        return None if data is None else {**data, **numbered(names)}

    def express(self, model: ModelConfig, vocab_size: int) -> dict[str, Any] | None:
        return self.write(model, vocab_size)

    def table(self, model: ModelConfig) -> Table:
        assert isinstance(model, EncoderConfig)
        table = self.body.table(replace(model, head=NO_HEAD))
        return replace(table, rows=(*table.rows, *self.rows()), bare=False)

    def rows(self) -> list[Row]:
        """Returns the rows of the head."""
        if self.ending != TEXTS:
            return pair(TOKEN_HEADS[self.ending], "head.output")
        own = TEXT_HEADS[self.model_type]
        return [*pair(own.dense, "head.dense"), *pair(own.output, "head.output")]

    def silent(self, model: ModelConfig) -> tuple[str, ...]:
        return self.body.silent(model)

    def readers(self, data: Mapping[str, Any]) -> dict[str, Reader]:
        """Returns the readers of the columns of its task, by its config.json.

        An answer may be none, as files do not say whether some questions of the training had none.
        """
        if self.ending == SPANS:
            return {ANSWERS: Answers(nothing=True)}
        names = names_of(data)
        return {LABEL: Labels(names=names)} if self.ending == TEXTS else {TAGS: Tags(names=names)}


def every() -> list[Tasked]:
    """Returns one of each class with the head of a task."""
    bodies = [family for family in families() if family.model_type in TEXT_HEADS]
    return [Tasked(body, ending) for body in bodies for ending in TASKS]


def named(kind: str, architecture: str) -> Tasked | None:
    """Returns the class of that name, of that model_type; None: there is none."""
    return next((one for one in every() if one.model_type == kind and architecture in one.architectures), None)


def fitting(task: TaskConfig, model: ModelConfig, vocab_size: int, origin: str | None) -> Tasked | None:
    """Returns the class that can express a model with the head of a task; None: none can. origin: tried first."""
    able = [one for one in every() if one.task == task.kind and one.express(model, vocab_size) is not None]
    return next((one for one in able if one.model_type == origin), next(iter(able), None))


def labels(readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Returns the keys of config.json that name the labels of a task."""
    reader = readers.get(LABEL) or readers.get(TAGS)
    return numbered(reader.names) if isinstance(reader, Labels | Tags) else {}


def numbered(names: Sequence[str]) -> dict[str, Any]:
    """Returns names as config.json has them."""
    by_number = {str(i): name for i, name in enumerate(names)}
    return {"id2label": by_number, "label2id": {name: i for i, name in enumerate(names)}}


def task_of(family: Family, data: Mapping[str, Any], usual: str) -> tuple[TaskConfig, dict[str, Reader]]:
    """Returns the task of a folder and the readers of its columns. usual: of a model without the head of a task."""
    own = isinstance(family, Tasked)
    task = kinds(TaskConfig.folder)[family.task if own else usual]()
    assert isinstance(task, TaskConfig)
    return task, family.readers(data) if own else {}


def names_of(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the labels of a config.json in order. Raises UserError."""
    given = data.get("id2label")
    if not given:
        return tuple(f"LABEL_{i}" for i in range(int(data.get("num_labels") or USUAL)))
    try:
        by_number = {int(key): str(name).strip() for key, name in cast("Mapping[str, Any]", given).items()}
    except (ValueError, AttributeError, TypeError):
        raise UserError(f"config.json has id2label={given!r}; it must name each number from 0 on") from None
    out = tuple(by_number.get(i, "") for i in range(len(by_number)))
    if len({*out}) < len(out) or "" in out:
        raise UserError(f"config.json has id2label={given!r}; it must name each number from 0 on, each name once")
    return out


def require_one_label(data: Mapping[str, Any]) -> None:
    """Raises UserError for a class that predicts numbers, or several labels of one text."""
    problem = data.get("problem_type")
    if problem == "regression" or (problem is None and len(names_of(data)) == 1):
        what = "config.json is of a model that predicts a number, which is not read here"
        raise UserError(f"{what}; start=FOLDER with task=regress after saving it with transformers.AutoModel")
    if problem == "multi_label_classification":
        what = "config.json is of a model that gives a text several labels (problem_type), which is not read here"
        raise UserError(f"{what}; take its body with transformers.AutoModel, and train multilabel from that")
