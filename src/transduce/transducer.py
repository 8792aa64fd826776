"""A trained model as one uses it: text in, text out."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, Unpack, overload

from transduce.data.imported import Imported
from transduce.data.readers.reader import Readers
from transduce.errors import UserError, require_at_least
from transduce.exchange.certificate import require_source
from transduce.exchange.sentence_folder import MODULES
from transduce.exchange.sentences import Encoder, Precision, SentenceEncoder, Vectors
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.draft.run import Opened, RunConfig
from transduce.generate.listen import listen
from transduce.generate.options import Options, decoding
from transduce.generate.score import Scores
from transduce.generate.stop import TextStream
from transduce.inspect.looking import Map, maps
from transduce.inspect.stages import Stages, stages
from transduce.model.models import Model
from transduce.runs.drafts import open_draft
from transduce.runs.quantised import FULL, Reading
from transduce.runs.recipe import Recipe
from transduce.runs.start import SENTENCES
from transduce.tasks.acting import Played, Target, play
from transduce.tasks.answer import Answer
from transduce.tasks.caption import CaptionConfig
from transduce.tasks.chat import chat_task
from transduce.tasks.classifying import Classified, ClassifyingConfig
from transduce.tasks.drawing import DrawingConfig
from transduce.tasks.embed import RankConfig, Ranked, TaskVectors, ranked
from transduce.tasks.evaluate import Evaluation, evaluate
from transduce.tasks.extract import AnswerConfig, Extracted
from transduce.tasks.language import LanguageConfig
from transduce.tasks.measures.measure import DRAWS
from transduce.tasks.multilabel import MultilabelConfig, Multilabelled
from transduce.tasks.playing import PlayingConfig, world_of
from transduce.tasks.regress import RegressConfig
from transduce.tasks.reward import RewardConfig
from transduce.tasks.tag import TagConfig, Tagging
from transduce.tasks.task import TaskConfig
from transduce.tasks.transcribe import TranscribeConfig, Transcribed
from transduce.tasks.translate import TranslateConfig
from transduce.text.tokenizer import Tokenizer
from transduce.training import reference
from transduce.worlds.world import WorldConfig

T = TypeVar("T")


class Candidate(NamedTuple):
    """One of the n best outputs. score: its log p in nats; the token that ends it counts."""

    text: str
    score: float


@dataclass(frozen=True)
class Transducer:
    """A trained model with its readers and its recipe.

    readers: of the columns that its task reads; its tokeniser is one of them.
    run: the directory of its run (None: it was read from a Hugging Face folder).
    reading: the precision in which it was opened, and a line about it.
    """

    model: Model
    readers: Readers
    recipe: Recipe
    run: Path | None = None
    reading: Reading = FULL

    @property
    def tokenizer(self) -> Tokenizer:
        """Returns the reader of text. Raises UserError where the model does not read text."""
        if self.readers.tokenizer is None and not self.task.reads_text:
            raise UserError(
                f"this model was trained for task={self.task.kind}, which reads no text; use {self.task.verb}"
            )
        return self.readers.text

    @property
    def task(self) -> TaskConfig:
        return self.recipe.task

    def predict(self, inputs: Sequence[Any], **options: Unpack[Options]) -> list[Any]:
        """Returns a prediction for each input, in the form of its task."""
        return self.task.predict(self.model, self.readers, list(inputs), self._decoding(None, options))

    @overload
    def translate(self, texts: str, *, nbest: None = None, **options: Unpack[Options]) -> str: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def translate(self, texts: Sequence[str], *, nbest: None = None, **options: Unpack[Options]) -> list[str]: ...
    @overload
    def translate(self, texts: str, *, nbest: int, **options: Unpack[Options]) -> list[Candidate]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def translate(self, texts: Sequence[str], *, nbest: int, **options: Unpack[Options]) -> list[list[Candidate]]: ...
    def translate(self, texts: str | Sequence[str], *, nbest: int | None = None, **options: Unpack[Options]) -> Any:
        """Returns the translation of a text, or of each of a list, in order; with nbest, the n best of each.

        The translation of a text of blanks is "", and it has no n best. See `answers`.
        """
        many = [texts] if isinstance(texts, str) else list(texts)
        rows = self.answers(many, nbest=nbest, **options)
        if nbest is not None:
            out = [[Candidate(answer.text, answer.log_p) for answer in row] for row in rows]
        else:
            out = [row[0].text if row else "" for row in rows]
        return out[0] if isinstance(texts, str) else out

    def answers(
        self, texts: Sequence[str], *, nbest: int | None = None, **options: Unpack[Options]
    ) -> list[list[Answer]]:  # fmt: skip
        """Returns the n best translations of each text, best first, with their log p; a text of blanks has none.

        Of several with the same text in other tokens the best is kept, so there may be fewer than n. Samples, which are
        drawn at random, may repeat.
        """
        task = self._as(TranslateConfig)
        return task.predict(self.model, self.readers, texts, self._decoding(nbest, options))

    @overload
    def classify(self, texts: str | Path) -> Classified | Multilabelled: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def classify(self, texts: Sequence[str | Path]) -> list[Classified] | list[Multilabelled]: ...
    def classify(self, texts: str | Path | Sequence[str | Path]) -> Any:
        """Returns the label of a text, or of each of a list, in order, with the probability of every label.

        They come as a `Classified`, or a list of them. A text of blanks has the label "". A model that sees takes
        files of pictures.
        """
        task: ClassifyingConfig | MultilabelConfig = self._as((ClassifyingConfig, MultilabelConfig))
        many: list[Any] = [texts] if isinstance(texts, str | Path) else list(texts)
        out = task.predict(self.model, self.readers, many, self.recipe.generate)
        return out[0] if isinstance(texts, str | Path) else out

    def draw(
        self, given: Sequence[Any] | str | None = None, count: int = 1, *, guidance: float = 0.0,
        steps: int | None = None, sampler: str | None = None, eta: float = 0.0, seed: int = 0,
    ) -> list[Any]:  # fmt: skip
        """Returns so many pictures, (H, W) or (H, W, 3) bytes each, or points, of every label that is given, in order.

        Each depends on the model, the seed, its label and its number among those of the label alone. The rest is as
        `DiffuseConfig` says; steps and sampler are those of the recipe where they are left out.

        given: labels, or captions (None: none is asked for).
        """
        task = self._as(DrawingConfig)
        require_at_least(1, count=count)
        require_at_least(0, seed=seed)
        changes = {"steps": steps, "sampler": sampler, "eta": eta, "guidance": guidance}
        manner = task.manner(**{name: value for name, value in changes.items() if value is not None})
        labels = [given] if given is None or isinstance(given, str) else list(given)
        drawn = [task.draw(self.model, self.readers, label, range(count), manner, seed) for label in labels]
        return [one for row in drawn for one in row]

    @overload
    def transcribe(self, sounds: str | Path, **options: Unpack[Options]) -> str: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def transcribe(self, sounds: Sequence[str | Path], **options: Unpack[Options]) -> list[str]: ...
    def transcribe(self, sounds: str | Path | Sequence[str | Path], **options: Unpack[Options]) -> Any:
        """Returns what is said in a sound, or in each of a list, in order. A sound is a file."""
        many = [sounds] if isinstance(sounds, str | Path) else list(sounds)
        out = [one.text for one in self.transcribed(many, **options)]
        return out[0] if isinstance(sounds, str | Path) else out

    def transcribed(self, sounds: Sequence[str | Path], **options: Unpack[Options]) -> list[Transcribed]:
        """Returns the text of each sound with its log p."""
        task = self._as(TranscribeConfig)
        return task.predict(self.model, self.readers, list(sounds), self._decoding(None, options))

    @overload
    def caption(self, pictures: str | Path, **options: Unpack[Options]) -> str: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def caption(self, pictures: Sequence[str | Path], **options: Unpack[Options]) -> list[str]: ...
    def caption(self, pictures: str | Path | Sequence[str | Path], **options: Unpack[Options]) -> Any:
        """Returns what a picture shows, or each of a list, in order. A picture is a file."""
        many = [pictures] if isinstance(pictures, str | Path) else list(pictures)
        out = [row[0].text if row else "" for row in self.captions(many, **options)]
        return out[0] if isinstance(pictures, str | Path) else out

    def captions(
        self, pictures: Sequence[str | Path], *, nbest: int | None = None, **options: Unpack[Options]
    ) -> list[list[Answer]]:  # fmt: skip
        """Returns the n best captions of each picture, best first, with their log p."""
        task = self._as(CaptionConfig)
        return task.predict(self.model, self.readers, list(pictures), self._decoding(nbest, options))

    def tag(self, texts: Sequence[str | Sequence[str]]) -> list[Tagging]:
        """Returns the words of each text with their tags, in order. A text may be a list of its words."""
        return self._as(TagConfig).predict(self.model, self.readers, list(texts), self.recipe.generate)

    def regress(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> list[float]:
        """Returns the number of each text, in order; of a model for similarity, that of each pair of texts."""
        return self._as(RegressConfig).predict(self.model, self.readers, list(texts), self.recipe.generate)  # type: ignore[arg-type]

    def act(
        self, world: str | WorldConfig | None = None, *, target: Target = "best", episodes: int = 20, seed: int = 0,
        context: int | None = None, pictures: bool = False, horizon: int | None = None, beam_size: int | None = None,
    ) -> list[Played]:  # fmt: skip
        """Returns episodes that the model plays in a world, by its kind (None: that of its training).

        target: the return that it is asked for; "best" and "worst" are those of the world.
        context: steps that it looks back on (None: as many as in training).
        horizon, beam_size: of a model that plans, steps that it foresees and trajectories that it continues after each
            (None: as its recipe says).
        pictures: the first episode comes with pictures of it.
        """
        task = self._as(PlayingConfig).asked(target, horizon, beam_size)
        config = world_of(task, world)
        return play(
            task, self.model, self.readers, config, target=target, episodes=episodes, seed=seed, context=context,
            pictures=pictures,
        )  # fmt: skip

    def rank(self, question: str, passages: Sequence[str]) -> Ranked:
        """Returns the numbers of passages, those that fit a question best first, with their scores."""
        return self.ranker(passages)([question])[0]

    def ranker(self, passages: Sequence[str]) -> Callable[[Sequence[str]], list[Ranked]]:
        """Returns what ranks the same passages for any number of questions; they are read once."""
        task = self._as(RankConfig)
        there = task.vectors(self.model, self.readers, list(passages))

        def of(questions: Sequence[str]) -> list[Ranked]:
            return [ranked(there, one) for one in task.vectors(self.model, self.readers, list(questions))]

        return of

    @overload
    def answer(self, questions: str, context: str) -> Extracted: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def answer(self, questions: Sequence[str], context: str | Sequence[str]) -> list[Extracted]: ...
    def answer(self, questions: str | Sequence[str], context: str | Sequence[str]) -> Any:
        """Returns the stretch of a context that answers a question, or each of a list.

        context: of all questions, or a list with one for each.
        """
        self._as(AnswerConfig)
        many = [questions] if isinstance(questions, str) else list(questions)
        contexts = [context] * len(many) if isinstance(context, str) else list(context)
        if len(contexts) != len(many):
            raise UserError(f"there are {len(many)} questions and {len(contexts)} contexts; give one for each, or one")
        out = self.answer_pairs([*zip(contexts, many, strict=True)])
        return out[0] if isinstance(questions, str) else out

    def generate(self, prompt: str = "", **options: Unpack[Options]) -> str:
        """Returns the text that the model writes after a prompt, without the prompt."""
        return self.continuation(prompt, **options).text

    def continuation(self, prompt: str = "", **options: Unpack[Options]) -> Answer:
        """Returns the same text as `generate`, with its log p."""
        task, config = self._as(LanguageConfig), self._decoding(None, options)
        return task.predict(self.model, self.readers, [prompt], config)[0]

    def stream(self, prompt: str = "", **options: Unpack[Options]) -> Iterator[str]:
        """Yields the text of `generate` piece by piece, as it is written; closing the iterator stops the writing."""
        config = self._decoding(None, options)
        prompts, text = (
            [self._as(LanguageConfig).prompt(self.readers, prompt)],
            TextStream(self.tokenizer.stream(), config.stop),
        )
        if config.beam_size > 1:
            raise UserError(f"beam_size={config.beam_size} knows its text only at the end; stream with beam_size=1")

        def write(say: Callable[[str], None]) -> None:
            decode(self.model, self.tokenizer, config, prompt=prompts, on_token=lambda _, token: say(text.push(token)))
            say(text.finish())

        return listen(write)

    def chat(self, messages: str | Sequence[Mapping[str, str]], **options: Unpack[Options]) -> str:
        """Returns what the assistant answers to a conversation, or to a text that the user says.

        messages: each with a role (system, user, assistant) and its content, as [{"role": "user", "content": "Hi"}].
        """
        config = self._decoding(None, options)
        task = chat_task(self.task, self.model, self.readers)
        return task.predict(self.model, self.readers, [messages], config)[0].text

    def chat_stream(self, messages: str | Sequence[Mapping[str, str]], **options: Unpack[Options]) -> Iterator[str]:
        """Yields what `chat` returns piece by piece, as it is written; closing the iterator stops the writing."""
        task = chat_task(self.task, self.model, self.readers)
        config = self._decoding(None, options)
        if config.beam_size > 1:
            raise UserError(f"beam_size={config.beam_size} knows its text only at the end; stream with beam_size=1")
        text = TextStream(self.tokenizer.stream(), config.stop)

        def write(say: Callable[[str], None]) -> None:
            task.predict(self.model, self.readers, [messages], config, lambda _, token: say(text.push(token)))
            say(text.finish())

        return listen(write)

    def reward(self, answers: Iterable[tuple[str | Sequence[Mapping[str, str]], str]]) -> list[float]:
        """Returns the reward of every answer, given as (prompt, answer); a prompt is a text, or messages."""
        return self._as(RewardConfig).reward(self.model, self.readers, list(answers))

    def score(self, pairs: Iterable[tuple[str, str]] | Iterable[str]) -> list[Scores]:
        """Returns log p of every target given its source, in nats: the sum, and token by token.

        A language model takes texts instead of pairs. One trained on a stream has no tokens for beginning and
        end, so its texts are scored from their second token on.
        """
        return self.task.score(self.model, self.readers, pairs)

    def embed(self, texts: Sequence[str], *, precision: Precision = "fp32") -> Vectors:
        """Returns (N, features) float32, a vector of each text: pooled as its origin says, else the mean hidden state.

        For models that are encoders. precision: "bf16" is faster where the processor multiplies it.
        """
        return self.sentences.embed(list(texts), precision=precision)

    def embed_pictures(self, pictures: Sequence[str | Path], *, precision: Precision = "fp32") -> Vectors:
        """Returns (N, features) float32, a vector of each picture, a file, in the space of `embed`.

        For models that were trained with task=match. Raises UserError.
        """
        own = self.sentences if self.task.embeds else None
        if not isinstance(own, TaskVectors):
            raise UserError(f"this model was trained for task={self.task.kind}, which gives pictures no vectors")
        return own.embed_inputs(list(pictures), precision=precision)

    @functools.cached_property
    def sentences(self) -> SentenceEncoder | TaskVectors:
        """Returns the model as an encoder of texts. Raises UserError if the model is not an encoder."""
        if self.task.embeds:
            return TaskVectors(self.task, self.model, self.readers)
        if self.task.hears:
            raise UserError(
                f"this model was trained for task={self.task.kind}, which reads sounds; use {self.task.verb}"
            )
        data, own = self.recipe.data, None if self.run is None else self.run / SENTENCES
        encoder = Encoder(self.model, self.recipe.model, self.tokenizer.vocab_size)
        if own is not None and own.is_dir():
            return SentenceEncoder.read(own, encoder)
        if not isinstance(data, Imported) or not data.sentences:
            return SentenceEncoder.of(self.model, self.recipe.model, self.tokenizer)
        if not (Path(data.origin) / MODULES).is_file():  # of a run that was imported before it kept these files
            raise UserError(
                f"{data.origin} says how texts become vectors, and this model was imported from there, but the folder "
                f"is not there any more; import it again, or put it back"
            )
        if self.run is not None:
            require_source(Path(data.origin), self.run)
        return SentenceEncoder.read(data.origin, encoder)

    def answer_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Extracted]:
        """Returns the answer to each (context, question)."""
        return self._as(AnswerConfig).predict(self.model, self.readers, list(pairs), self.recipe.generate)

    def attention(self, text: str, target: str | None = None) -> list[Map]:
        """Returns a map of each layer's mixers on a text: how much each token takes of each other one, head by head.

        target: what answers it, for a model that answers a source (None: its own answer). Of every kind of mixer, see
        `inspect.maps`. Raises UserError for a target that such a model does not read.
        """
        source, ids = self._looked_at(text, target)
        return maps(self.model, ids, self.tokenizer.pieces, source)

    def stages(
        self, text: str, target: str | None = None, mixer: str | None = None, head: int = 1, **options: Unpack[Options]
    ) -> Stages:
        """Returns what one mixer and head do with a text, step by step, with the numbers: from the lookup of vectors
        to the next token.

        target: as in `attention`. mixer: the name of a map (None: the first of the last stack). head: from 1.
        options: of decoding, for the draw of the next token.
        """
        source, ids = self._looked_at(text, target)
        config = decoding(self.recipe.generate, None, options)
        return stages(self.model, ids, self.tokenizer.pieces, source, mixer, head, config)

    def _looked_at(self, text: str, target: str | None) -> tuple[list[int] | None, list[int]]:
        """Returns ids of a source, if any, and of what is read after it. Raises UserError."""
        if not text.strip():
            raise UserError("the text is blank; give one with a token to look at")
        source, ids = self.task.looks_at(self.readers, text, target)
        if source is not None and target is None:
            answer = self.translate(text, beam_size=1, temperature=0.0)
            source, ids = self.task.looks_at(self.readers, text, answer)
        if not ids:
            raise UserError("the text is empty; give one with a token to look at")
        if self.model.limit is not None and len(ids) > self.model.limit:
            raise UserError(f"the text has {len(ids)} tokens, but this model can read {self.model.limit}; shorten it")
        return source, ids

    def evaluate(self, split: str | None = None) -> Evaluation:
        """Returns the loss and the measures of the task on a split of the data, with intervals and predictions.

        split: a name of the data (None: test if the data has it, else valid).

        Raises UserError where the data has no such split.
        """
        task, train = self.task, self.recipe.train
        splits = self.recipe.data.load(task.reads)
        usual = next(name for name in ("test", "valid", "train") if name in splits)
        if split is None:
            split = usual
        if split not in splits:
            raise UserError(f"the data has no split `{split}`; it has {', '.join(splits)}: use --split {usual}")
        prepared = task.split(split, splits[split], self.readers, self.recipe.batch, train.seed)
        if self.recipe.objective.referenced:
            prepared = reference.attached_to_split(self.run, prepared)
        objective = self.recipe.objective.build_for(self.model, self.readers.tokenizer)
        return evaluate(
            task, self.model, objective, prepared, self.readers, self.recipe.generate,
            measures=(*task.measures(), *self.recipe.reported()), draws=DRAWS, shows=self.recipe.objective.shows,
        )  # fmt: skip

    def _decoding(self, nbest: int | None, options: Options) -> GenerateConfig:
        """Returns the settings of decoding; a run that guesses is opened, once."""
        config = decoding(self.recipe.generate, nbest, options)
        if not isinstance(draft := config.draft, RunConfig):
            return config
        if draft not in self._drafts:
            self._drafts[draft] = open_draft(draft, self.model, self.tokenizer, self.recipe)
        return dataclasses.replace(config, draft=self._drafts[draft])

    @functools.cached_property
    def _drafts(self) -> dict[RunConfig, Opened]:
        return {}

    def _as(self, kind: type[T] | tuple[type[T], ...]) -> T:
        """Returns the task, if it is of a kind. Raises UserError, which names the method that this model has."""
        if isinstance(self.task, kind):
            return self.task
        message = f"this model was trained for task={self.task.kind}; use {self.task.verb}"
        raise UserError(self.task.refusal or message)
