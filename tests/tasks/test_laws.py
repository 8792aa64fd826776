"""Every registered task obeys the laws of tasks, and each law sees what it is about."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from transduce.config import kinds
from transduce.data.readers.labels import Labels
from transduce.data.readers.log_mel import LogMel
from transduce.objectives.objective import Loss
from transduce.tasks.act import ActConfig
from transduce.tasks.autoencode import AutoencodeConfig
from transduce.tasks.caption import CaptionConfig
from transduce.tasks.chat import ChatConfig
from transduce.tasks.classify import ClassifyConfig
from transduce.tasks.denoise import DenoiseConfig
from transduce.tasks.draw import DrawConfig
from transduce.tasks.embed import EmbedConfig, RankConfig
from transduce.tasks.explore import ExploreConfig, MinimumRiskConfig
from transduce.tasks.extract import AnswerConfig
from transduce.tasks.hear import HearConfig
from transduce.tasks.illustrate import IllustrateConfig
from transduce.tasks.judged import JudgedConfig
from transduce.tasks.language import LanguageConfig
from transduce.tasks.match import MatchConfig
from transduce.tasks.measures.classes import MacroF1
from transduce.tasks.measures.measure import Measured
from transduce.tasks.moves import MovesConfig
from transduce.tasks.multilabel import MultilabelConfig
from transduce.tasks.plan import PlanConfig
from transduce.tasks.points import PointsConfig
from transduce.tasks.prefer import PreferConfig
from transduce.tasks.regress import RegressConfig, SimilarityConfig
from transduce.tasks.reward import RewardConfig
from transduce.tasks.see import SeeConfig
from transduce.tasks.tag import TagConfig
from transduce.tasks.task import TaskConfig
from transduce.tasks.transcribe import TranscribeConfig
from transduce.tasks.translate import TranslateConfig
from transduce.testing import tasks as laws
from transduce.testing.tasks import LAWS, Case, case

DRAW = random.Random(0)
TEXTS = ["".join(DRAW.choices("abcde ", k=DRAW.randint(3, 20))).strip() or "a" for _ in range(40)]


def talk(*contents: str) -> str:
    """What the user and the assistant say in turns, as JSON."""
    turns = zip(("user", "assistant") * len(contents), contents, strict=False)
    return json.dumps([{"role": role, "content": content} for role, content in turns])


ROWS: dict[str, tuple[TaskConfig, dict[str, list[Any]]]] = {
    "translate": (TranslateConfig(), {"source": TEXTS, "target": [text[::-1] for text in TEXTS]}),
    "language": (LanguageConfig(), {"text": TEXTS}),
    "language, a stream": (LanguageConfig(stream=True), {"text": TEXTS}),
    "chat": (ChatConfig(), {"messages": [talk(text[:4], text[::-1][:3]) for text in TEXTS]}),
    "denoise": (DenoiseConfig(), {"text": TEXTS}),
    "denoise, with a mask": (DenoiseConfig(), {"text": TEXTS}),
    "prefer": (
        PreferConfig(),
        {
            "prompt": [talk(text[:3]) for text in TEXTS],
            "chosen": [text[:2] for text in TEXTS],
            "rejected": [text[:3] + "b" for text in TEXTS],
        },
    ),
    "reward": (
        RewardConfig(),
        {
            "prompt": [talk(text[:3]) for text in TEXTS],
            "chosen": [text[:2] for text in TEXTS],
            "rejected": [text[:3] + "b" for text in TEXTS],
        },
    ),
    "explore": (
        ExploreConfig(),
        {"prompt": [talk(text[:3]) for text in TEXTS], "completion": [text[::-1][:3] for text in TEXTS]},
    ),
    "minimum-risk": (MinimumRiskConfig(), {"source": TEXTS, "target": [text[::-1] for text in TEXTS]}),
    "judged": (
        JudgedConfig(),
        {
            "prompt": [talk(text[:3]) for text in TEXTS],
            "completion": [text[:3] for text in TEXTS],
            "label": ["a" in text for text in TEXTS],
        },
    ),
    "classify": (ClassifyConfig(), {"text": TEXTS, "label": [text.count("a") % 3 for text in TEXTS]}),
}
WORDS = [text.split() or ["a"] for text in TEXTS]
ROWS["tag"] = (
    TagConfig(),
    {"words": WORDS, "tags": [[f"B-{word[0]}" if "a" in word else "O" for word in r] for r in WORDS]},
)
FILES = ["see", "draw", "autoencode", "hear", "transcribe", "match", "caption", "illustrate"]  # whose rows are files
CONTEXTS = [f"{text} {i % 7}x{i} {text[::-1]}" for i, text in enumerate(TEXTS)]
SPANS = [
    [{"text": f"{i % 7}x{i}", "answer_start": len(text) + 1}] if i % 5 else [] for i, text in enumerate(TEXTS)
]  # fmt: skip
ROWS["answer"] = (AnswerConfig(stride=4), {"context": CONTEXTS, "question": TEXTS, "answers": SPANS})
PAIRS = {"text": TEXTS, "other": [text[::-1] for text in TEXTS]}
COUNTS = [text.count("a") / 2 for text in TEXTS]
ROWS |= {  # pyright: ignore[reportConstantRedefinition]
    "regress": (RegressConfig(), {"text": TEXTS, "number": COUNTS}),
    "similarity": (SimilarityConfig(), {**PAIRS, "number": COUNTS}),
    "multilabel": (MultilabelConfig(), {"text": TEXTS, "labels": [sorted(set(text) - {" "}) for text in TEXTS]}),
    "embed": (EmbedConfig(), PAIRS),
    "embed, with hard negatives": (
        EmbedConfig(),
        {**PAIRS, "negative": [text[:5] if i % 3 else "" for i, text in enumerate(TEXTS)]},
    ),
    "rank": (RankConfig(), {"question": TEXTS, "passage": CONTEXTS}),
    "points": (
        PointsConfig(steps=4),
        {"point": [f"{i % 3} {i / 9}" for i in range(40)], "label": list(range(3)) * 13 + [0]},
    ),
}
STEPS = [len(text) for text in TEXTS]
ROWS["act"] = (
    ActConfig(context=4),
    {
        "states": [json.dumps([[DRAW.random(), DRAW.random()] for _ in range(n)]) for n in STEPS],
        "actions": [json.dumps([DRAW.randrange(3) for _ in range(n)]) for n in STEPS],
        "rewards": [json.dumps([DRAW.random() for _ in range(n)]) for n in STEPS],
    },
)
ROWS["act, in bins"] = (
    ActConfig(context=10, bins=5, quantile=0.01),
    {**ROWS["act"][1], "actions": [json.dumps([[DRAW.random(), 0.1 * i] for i in range(n)]) for n in STEPS]},
)
ROWS["plan"] = (PlanConfig(context=6, horizon=2, beam_size=2, branches=2), ROWS["act"][1])
ROWS["plan, of numbers"] = (
    PlanConfig(context=4, horizon=3, beam_size=3, bins=5, edges="quantile", discount=0.9), ROWS["act, in bins"][1]
)  # fmt: skip
OPENINGS = ("e4 e5 Nf3 Nc6 Bb5 a6", "d4 d5 c4 e6", "e4 c5 Nf3 d6 d4 cd4 Nd4", "e4 e6", "Nf3 d5 g3 c5 Bg2")
ROWS["moves"] = (MovesConfig(), {"text": [OPENINGS[i * i % 5] for i in range(40)]})
MORE: dict[str, dict[str, Any]] = {
    "moves": {"tokenizer": {"kind": "word", "split": "whitespace"}},
    "denoise": {"tokenizer": {"kind": "char", "sentinels": 20}},
    "denoise, with a mask": {"tokenizer": {"kind": "char", "specials": ["<mask>"]}, "objective": "denoising"},
}
CASES: dict[str, Case] = {}


def listed(folder: Path, split: str, column: str) -> dict[str, list[Any]]:
    files = sorted((folder / split).glob("*/*.*"))
    return {column: [str(file) for file in files], "label": [file.parent.name for file in files]}


@pytest.fixture
def made(request: pytest.FixtureRequest, photos: Path, tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The case of that name, made once."""
    name = request.param
    if name in ("see", "draw") and name not in CASES:
        body = {"embedding": {"kind": "patches", "patch": 2}}
        train, valid = (listed(photos, split, "image") for split in ("train", "valid"))
        task = SeeConfig() if name == "see" else DrawConfig(steps=2)
        CASES[name] = case(task, train, valid, tmp_path_factory.mktemp("case"), body)
    if name in ("match", "caption", "illustrate") and name not in CASES:
        body = {"embedding": {"kind": "patches", "patch": 2}}
        train, valid = (listed(photos, split, "image") for split in ("train", "valid"))
        train, valid = (
            {"image": rows["image"], "text": [f"{label} {i // 2}" for i, label in enumerate(rows["label"])]}
            for rows in (train, valid)
        )
        more = {"batch": {"batch_tokens": 32, "max_length": 32}}
        tasks = {"match": MatchConfig(), "caption": CaptionConfig(), "illustrate": IllustrateConfig(steps=2)}
        task = tasks[name]
        CASES[name] = case(task, train, valid, tmp_path_factory.mktemp("case"), body, more)
    if name == "autoencode" and name not in CASES:
        train, valid = ({"image": listed(photos, split, "image")["image"]} for split in ("train", "valid"))
        body = {"embedding": {"kind": "patches", "patch": 2}}
        CASES[name] = case(AutoencodeConfig(), train, valid, tmp_path_factory.mktemp("case"), body)
    if name == "hear" and name not in CASES:
        train, valid = (listed(tones, split, "sound") for split in ("train", "valid"))
        CASES[name] = case(HearConfig(features=LogMel(mels=8)), train, valid, tmp_path_factory.mktemp("case"))
    if name == "transcribe" and name not in CASES:
        train, valid = (listed(tones, split, "sound") for split in ("train", "valid"))
        train, valid = ({"sound": rows["sound"], "text": rows["label"]} for rows in (train, valid))
        task = TranscribeConfig(features=LogMel(mels=8))
        CASES[name] = case(task, train, valid, tmp_path_factory.mktemp("case"))
    if name not in CASES:
        task, columns = ROWS[name]
        train, valid = ({key: values[part] for key, values in columns.items()} for part in (slice(28), slice(28, 40)))
        CASES[name] = case(task, train, valid, tmp_path_factory.mktemp("case"), more=MORE.get(name))
    return CASES[name]


def test_every_task_stands_here() -> None:
    assert {*(task.kind for task, _ in ROWS.values()), *FILES} == set(kinds(TaskConfig.folder))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("made", [*ROWS, *FILES], indirect=True)
def test_a_task(law: Callable[[Case], None], made: Case) -> None:
    law(made)


# What is broken in each, and the law that must see it: a method of a class, and what it does instead of its own.


def rotated(own: Any, self: Any, model: Any, readers: Any, inputs: Sequence[Any], options: Any) -> list[Any]:
    found = own(self, model, readers, inputs, options)
    return [*found[1:], *found[:1]]


def by_mates(own: Any, self: Any, model: Any, readers: Any, inputs: Sequence[Any], options: Any) -> list[Any]:
    return own(self, model, readers, [f"{one}{'ab' * (len(inputs) > 1)}" for one in inputs], options)


def numbered(own: Any, self: Any, columns: Any, readers: Any) -> Any:
    values = {name: [f"{value}{'a' * (i % 2)}" for i, value in enumerate(columns[name])] for name in columns.names}
    return own(self, replace(columns, values={**columns.values, "text": values["text"]}), readers)


def backwards(own: Any, self: Any, values: Any, column: str) -> Any:
    found = own(self, values, column)
    return replace(found, names=found.names[::-1])


def of_slots(own: Any, self: Any, model: Any, tokenizer: Any) -> Any:
    objective = own(self, model, tokenizer)

    def slots(learner: Any, batch: Any) -> Loss:
        return objective(learner, batch)._replace(count=torch.tensor(batch.slots))

    return slots


def unsorted(own: Any, self: Any, outcome: Any, draws: int = 0) -> Measured:
    found = own(self, outcome, draws)
    return found if found.low is None else found._replace(low=found.high + 0.1)


def first(own: Any, self: Any, outcome: Any, draws: int = 0) -> Measured:
    return own(self, outcome, draws)._replace(value=len(outcome.samples[0].source) / 100)


def at_least_one(own: Any, self: Any, model: Any, readers: Any, inputs: Sequence[Any], options: Any) -> list[Any]:
    return own(self, model, readers, [*inputs] or ["a"], options)


def lenient(own: Any, self: Any, data: Any) -> Any:
    return self


@pytest.mark.parametrize("made", ["classify"], indirect=True)
@pytest.mark.parametrize(
    ("law", "owner", "method", "broken"),
    [
        (laws.examples_are_those_of_their_rows, ClassifyConfig, "examples", numbered),
        (laws.readers_come_back, Labels, "fit", backwards),
        (laws.losses_count_targets, "objective", "build_for", of_slots),
        (laws.predictions_do_not_depend_on_their_mates, ClassifyConfig, "predict", rotated),
        (laws.predictions_do_not_depend_on_their_mates, ClassifyConfig, "predict", by_mates),
        (laws.opened_it_predicts_what_validation_saw, ClassifyConfig, "predict", rotated),
        (laws.measures_are_sound, MacroF1, "of", unsorted),
        (laws.measures_are_sound, MacroF1, "of", first),
        (laws.nonsense_gets_a_sentence, ClassifyConfig, "predict", at_least_one),
        (laws.nonsense_gets_a_sentence, ClassifyConfig, "suited", lenient),
    ],
)
def test_a_law_sees_what_is_broken(
    law: Callable[[Case], None], owner: Any, method: str, broken: Any, made: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = type(made.model.recipe.objective) if owner == "objective" else owner
    own = getattr(owner, method)

    def instead(*args: Any, **more: Any) -> Any:
        return broken(own, *args, **more)

    monkeypatch.setattr(owner, method, instead)
    with pytest.raises(AssertionError):
        law(made)


@pytest.mark.parametrize("made", [*ROWS, *FILES], indirect=True)
def test_other_weights_are_seen(made: Case) -> None:
    model = made.exact.model.float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    with pytest.raises(AssertionError, match="loss"):
        laws.opened_it_predicts_what_validation_saw(replace(made, model=replace(made.model, model=model)))
