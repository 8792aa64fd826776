"""No data: the model was made elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from transduce.data.columns import STREAM, Columns
from transduce.data.source import DataConfig
from transduce.errors import UserError


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
        raise UserError(
            "this model was imported, and its data were not; name some of your own: data.kind=text data.path=..."
        )
