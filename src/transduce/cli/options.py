"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from transduce.cli.completion import recipe_words, run_names
from transduce.cli.documents import line_option

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RECIPE|FILE] [KEY=VALUE]...", show_default=False, autocompletion=recipe_words,
        help="A built-in recipe (default: dates) or a YAML file, and changes: model.width=512 or --model.width 512.",
    ),
]  # fmt: skip
Run = Annotated[Path, typer.Argument(help="The directory of a run.", show_default=False, autocompletion=run_names)]
Checkpoint = Annotated[str, typer.Option(help="best, last, or the name of one in checkpoints/.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]

Asked = Literal["auto", "fp32", "bf16", "int8", "int4"]
Precision = Annotated[
    Asked | None,
    typer.Option(help="How weights are multiplied; auto: the fastest here. Default: as generate.precision says."),
]  # fmt: skip

TrainDevice = Annotated[str | None, typer.Option(help="auto, cpu or cuda; the same as train.device.")]

BeamSize = Annotated[int | None, typer.Option(help="Beams per source; 1 is greedy.")]
LengthPenalty = Annotated[float | None, typer.Option(help="Exponent of the length penalty of beam search.")]
MaxNewTokens = Annotated[int | None, typer.Option(help="Most tokens to write.")]
Temperature = Annotated[float | None, typer.Option(help="0: the likeliest token each time. 1: as the model says.")]
TopK = Annotated[int | None, typer.Option(help="Sample from the K likeliest tokens.")]
TopP = Annotated[float | None, typer.Option(help="Sample from the likeliest tokens that hold P of the probability.")]
MinP = Annotated[float | None, typer.Option(help="Drop tokens below P times the likeliest one's probability.")]
Seed = Annotated[int | None, typer.Option(help="The same seed, the same text.")]
MinNewTokens = Annotated[int | None, typer.Option(help="Least tokens to write before the end.")]
RepetitionPenalty = Annotated[
    float | None, typer.Option(help="Above 1: tokens that stand there already become less likely.")
]  # fmt: skip
NoRepeatNgram = Annotated[int | None, typer.Option(metavar="N", help="Write no N tokens in a row twice.")]
Draft = Annotated[
    str | None,
    typer.Option(
        metavar="lookup|RUN|none",
        help="Guess the next tokens, from the text itself or with a smaller run: the same text in fewer steps.",
    ),
]  # fmt: skip
Scores = Annotated[bool, typer.Option("--scores", help="Print log p, tokens and log p per token before each text.")]
Json = Annotated[bool, line_option("source or prompt, text, log_p, tokens, log_p_per_token")]
