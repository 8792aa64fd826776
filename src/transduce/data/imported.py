"""No data: the model was made elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from transduce.data.columns import SOURCE, STREAM, TARGET, TEXT, Columns, required
from transduce.data.source import DataConfig
from transduce.errors import UserError

KINDS: dict[tuple[str, ...], str] = {  # of the data that have these columns; those of any others are a table
    (TEXT,): "text", (STREAM,): "text", (SOURCE, TARGET): "pairs", ("image", "label"): "images",
    ("image", TEXT): "captions", ("sound", "label"): "sounds", ("sound", TEXT): "transcripts",
    ("states", "actions", "rewards"): "episodes", ("messages",): "chats", ("prompt", "completion"): "chats",
    ("prompt", "chosen", "rejected"): "chats",
}  # fmt: skip


def way(columns: Sequence[str]) -> str:
    """Returns the words of a command that name data with these columns."""
    return f"data.kind={KINDS.get(tuple(required(columns)), 'table')} data.path=..."


@dataclass(frozen=True, kw_only=True)
class Imported(DataConfig):
    """The place of data in the recipe of an imported model.

    origin: where the model was.
    ends: a text has an end.
    sentences: that folder says how texts become vectors.
    """

    kind: ClassVar[str] = "imported"
    origin: str
    ends: bool = True
    sentences: bool = False

    @property
    def gives(self) -> tuple[str, ...] | None:
        return None if self.ends else (STREAM,)

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Raises UserError."""
        raise UserError(f"this model was imported, and its data were not; name some of your own: {way(columns)}")
