"""A whole training: from a recipe to a finished run directory.

Tested in tests/training/test_resume.py.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import cast

import torch
import torch.utils.checkpoint

from transduce.config import UnknownKind
from transduce.data.loader import Loader
from transduce.data.mixed import loader_of
from transduce.data.remarks import remarks
from transduce.errors import UserError, sized
from transduce.generate.rules import require_followed
from transduce.model.block import Block
from transduce.model.models import Model
from transduce.model.ops import fla
from transduce.model.sublayers import Inside
from transduce.objectives.carry import Carried, require_bounded
from transduce.runs.average import Average
from transduce.runs.checkpoint import steps
from transduce.runs.claim import as_begun, claim, record_recipe, require_same
from transduce.runs.opening import built
from transduce.runs.prepare import absent, shards_of
from transduce.runs.recipe import Recipe, TrainConfig
from transduce.runs.report import Report
from transduce.runs.run import Run, not_installed, packages_of, readers_of, record_data, record_environment, refused
from transduce.runs.seal import seal
from transduce.runs.start import Start, begin, hand_on
from transduce.runs.weights import names
from transduce.training import exploring, loop, reference, teaching
from transduce.training.calibrate import require_valid
from transduce.training.device import device_of as device_of
from transduce.training.finish import finish
from transduce.training.loop import Interrupted
from transduce.training.moving import Moving
from transduce.training.progress import Display
from transduce.training.session import Job, Session
from transduce.training.watching import Watch, WatcherFailed
from transduce.tune.tuning import Tuning, require_objective

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # after which a training saves and stops


def train(
    recipe: Recipe,
    root: Path = Path("runs"),
    *,
    quiet: bool = False,
    notes: Sequence[str] = (),
    watch: Watch | None = None,
    start: Start | None = None,
) -> Run:
    """Trains what the recipe says in the directory root/NAME, or goes on with it there, and returns the run.

    notes: lines to say at the start.
    start: the weights that a new run begins with (None: random numbers).
    watch: is told of every update and validation; what it raises ends the training, once all is saved.

    Raises UserError where nothing can be done, and Interrupted (also a UserError) after Ctrl-C, when all is saved.
    """
    recipe = recipe.resolve()
    config, device = recipe.train, device_of(recipe.train)
    path, cuda = root / recipe.name, [device] if device.type == "cuda" else []
    try:
        with (
            threads(config.threads), fla.kernels(config.kernels == "fla", device),
            claim(recipe, root) as run, torch.random.fork_rng(cuda),
            Report(path, tensorboard=config.tensorboard) as report,
            Display(recipe.name, config.max_steps, quiet=quiet) as display,
            sized("the training", "lower batch.batch_tokens or sizes of the model, or set train.recompute=true"),
        ):  # fmt: skip
            if config.max_epochs is None:
                require_steps_left(run, config)
            record_environment(run, device, recipe)
            job = build(run, recipe, device, start, say=display.say)
            record_environment(run, device, job.recipe, job.readers)
            if config.max_epochs is not None:
                settle(run, job.recipe, display)
            seal(path)
            optimizers = recipe.optimizer.build(job.model)
            tuning = Tuning(recipe.tune, job.model, optimizers)
            fixed = frozenset(name for tensor, name in names(job.model).items() if tensor in tuning.fixed)
            average = None if config.ema is None else Average(job.model, config.ema, fixed)
            moving = Moving(job.model, optimizers, average, device, Carried(job.model), tuning, fixed)
            session = Session(job, moving, run, report, display, watch)
            for line in (introduction(session), *on_length(job.recipe), *notes, *job.remarks):
                session.say(line)
            with stop_signals(session.say) as interrupted:
                position = loop.train(session, interrupted)
            for line in job.loader.summary(position.cursor):
                session.say(line)
            finish(session, position)
    except WatcherFailed as stop:
        raise stop.failure from None
    except KeyboardInterrupt:
        message = f"stopped; {path} is as its last checkpoint has it. Run the same command again to go on"
        raise Interrupted(message) from None
    except OSError as error:
        raise refused(path, error) from error
    return Run(path)


def build(
    run: Run, recipe: Recipe, device: torch.device, start: Start | None = None, *,
    say: Callable[[str], None] = lambda _: None,
) -> Job:  # fmt: skip
    """Returns the data, readers, model and objective of a recipe.

    start: where the model comes from, in a new run.
    say: hears of what takes long.
    """
    config, task = recipe.train, recipe.task
    require_objective(recipe.tune, recipe.objective.kind)
    if (shards := shards_of(run, recipe, start, say)) is not None:
        splits = shards.splits
        record_data(run, splits, shards.index.data)
    else:
        splits = recipe.data.load(task.reads)
        record_data(run, splits)
    if start is not None:
        hand_on(start, run, recipe)
    readers = readers_of(run, recipe, splits["train"])
    model = built(recipe, readers, config.seed)
    task.check(model, readers)
    require_followed(recipe.generate)
    start_lines = list[str]()
    if start is not None and not steps(run.checkpoints):
        start_lines = begin(model, start, task.shaped(recipe.model, readers))
    start_lines += recipe.tune.adapt(model, torch.Generator().manual_seed(config.seed))
    labels = {*recipe.tune.labels(model).values()}
    if start is None and not steps(run.checkpoints) and not all(map(recipe.tune.moves, labels)):
        start_lines.append("what does not move keeps its random start values; add start= for those of a trained model")
    if model.limit is not None and recipe.batch.max_length > model.limit:
        limit = f"the model has {model.limit} positions"
        raise UserError(f"batch.max_length={recipe.batch.max_length}, but {limit}; lower it, or raise the limit")
    objective = recipe.objective.build_for(model, readers.tokenizer)
    model.to(device)
    start_lines += teaching.begin(run, objective, model)
    arrange_blocks(model, config)
    examples = task.examples(splits["train"], readers)
    splits_held = {
        name: task.split(name, columns, readers, recipe.batch, config.seed)
        for name, columns in splits.items()
        if name != "train"
    }
    require_valid(task, splits)
    if recipe.objective.referenced:
        every = [examples, *(split.examples for split in splits_held.values())]
        start_lines += reference.prepare(run, model, every, recipe, say)
        examples = reference.attached(run.path, examples)
        splits_held = {name: reference.attached_to_split(run.path, split) for name, split in splits_held.items()}
    if recipe.objective.explores:
        if splits["train"].sources:
            what = f"objective={recipe.objective.kind} answers prompts of one source"
            raise UserError(f"{what}, and data.kind=mixture has several; name one of them as data")
        loader: Loader = exploring.loader(run, recipe, model, readers, splits["train"], examples)
    else:
        loader = loader_of(examples, recipe.batch, seed=config.seed, columns=splits["train"], data=recipe.data)
    recipe = recipe.in_steps(loader.size(0))
    require_bounded(model, loader)
    try:
        measure, of_measure = task.selects(config.metric, splits.get("valid", splits["train"]), config.samples)
    except UnknownKind as error:
        raise (not_installed(run.path, error) if error.key in packages_of(run.path) else error) from None
    unread = [] if shards is not None and absent(recipe) else recipe.data.remarks(task.reads)
    lines = [*start_lines, *recipe.objective.remarks(), *loader.remarks(), *unread, *task.remarks(readers)]
    for name, examples in {
        "train": loader.examples,
        **{name: split.examples for name, split in splits_held.items()},
    }.items():
        lines += remarks(name, splits[name], examples, readers.tokenizer, recipe.batch)
        lines += task.unlearnable(recipe.model, readers, name, examples)
    return Job(
        recipe,
        measure,
        readers,
        model,
        objective,
        loader,
        splits_held.get("valid"),
        splits_held.get("test"),
        (*lines, *of_measure),
    )


def introduction(session: Session) -> str:
    """Returns a line on what is about to be trained."""
    job, device = session.job, session.moving.device
    parameters = sum(p.numel() for p in job.model.parameters())
    session.moving.tuning.arrange(1)
    moving = sum(p.numel() for p in job.model.parameters() if p.requires_grad)
    size = f"{parameters:,} parameters" + (f", of which {moving:,} move" if moving < parameters else "")
    where = f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else torch.cuda.get_device_name(device)
    epoch = f"{job.loader.size(0):,} batches per epoch"
    if (tokenizer := job.readers.tokenizer) is not None:
        epoch += f", {tokenizer.vocab_size:,} tokens in the vocabulary"
    return f"{job.recipe.name}: {size}, {epoch}, on {where}"


def on_length(recipe: Recipe) -> list[str]:
    """Returns what is to be known of the length of a training and its warm-up, a sentence each."""
    train, schedule, lines = recipe.train, recipe.schedule, list[str]()
    if train.max_epochs is not None:
        lines.append(f"train.max_epochs={train.max_epochs:g} are {train.max_steps:,} steps")
    if schedule.warmup_steps > train.max_steps:
        lines.append(
            f"the warm-up (schedule.warmup_steps={schedule.warmup_steps}) is longer than the training "
            f"({train.max_steps} steps), so the learning rate only rises, to {schedule.factor(train.max_steps):.1%} of "
            f"optimizer.learning_rate; lower it, for example schedule.warmup_steps={train.max_steps // 10}"
        )
    return lines


def settle(run: Run, recipe: Recipe, display: Display) -> None:
    """Records how many steps the epochs of a recipe are. Raises UserError where they are done or do not fit the run."""
    require_steps_left(run, recipe.train)
    recipe = as_begun(run.path, recipe)
    require_same(run.path, recipe)
    record_recipe(run.path, recipe)
    display.until(recipe.train.max_steps)


def arrange_blocks(model: Model, config: TrainConfig) -> None:
    """Makes blocks recompute their activations or compile, one by one, from outside."""
    for block in (cast(Block, block) for stack in model.stacks() for block in stack.blocks):
        if config.recompute:
            block.forward = partial(torch.utils.checkpoint.checkpoint, block.forward, use_reentrant=False)
        if config.compile and compiles(block):
            block.compile()


def compiles(block: Block) -> bool:
    """Says whether tracing a block is worth it: experts break the graph, a loop over tokens is traced per length."""
    loops = any(isinstance(part, Inside) for part in block.every())
    return not loops and not any(getattr(part, "asks_valid", False) for part in block.modules())


def require_steps_left(run: Run, config: TrainConfig) -> None:
    """Raises UserError if the run is complete; where it was and will be longer, removes its result."""
    result = run.result
    if result is None:
        return
    step, stale = result["step"], result["stale"]
    if step < config.max_steps and (config.patience is None or stale < config.patience):
        (run.path / "result.json").unlink()
        return
    why, way = f"all {step} steps are done", f"raise train.max_steps above {max(step, config.max_steps)}"
    if config.max_epochs is not None:
        way = f"raise train.max_epochs above {config.max_epochs * step / config.max_steps:g}"
    if step < config.max_steps:
        why, way = f"it stopped at step {step}, after {stale} validations without a better one", "raise train.patience"
    elif (end := run.recipe.schedule.end) is not None and end <= step:  # a longer training would have another schedule
        way += f" and add schedule.steps={end}, which keeps the last rate from there on"
    raise UserError(f"no steps left in {run.path}: {why}; to go on, {way}, or start another run with name=")


@contextmanager
def threads(count: int | None, key: str = "train.threads=") -> Generator[None]:
    """Computes with so many CPU threads inside (None: as it is). Raises UserError for many more than there are CPUs.

    key: how the user gives their number.
    """
    if count is not None and count > (most := 4 * (os.cpu_count() or 1)):
        raise UserError(f"{key}{count}, but this machine has {os.cpu_count()} CPUs; use at most {most}")
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def stop_signals(say: Callable[[str], None]) -> Generator[Callable[[], bool]]:
    """Gives a function that turns true with the first Ctrl-C, SIGTERM or SIGHUP; a second Ctrl-C stops at once.

    A terminal that closes may send SIGHUP more than once, so that one never stops at once. Where it is ignored already,
    as by nohup, it stays so.
    """
    signals: list[int] = []

    def handle(number: int, frame: object) -> None:
        if signals and number != signal.SIGHUP:
            raise KeyboardInterrupt
        signals.append(number)
        why = "the terminal is closed: " if number == signal.SIGHUP else ""
        again = "" if why else " (press Ctrl-C again to stop at once)"
        with suppress(RuntimeError):  # a line is being written at this moment
            say(f"{why}finishing this step, then saving{again}")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    numbers = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield lambda: bool(signals)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
