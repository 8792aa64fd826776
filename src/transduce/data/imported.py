"""No data: the model was made elsewhere."""

from dataclasses import dataclass
from typing import ClassVar

from transduce.data.source import DataConfig, Texts
from transduce.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Imported(DataConfig):
    """What an imported model has in the place of data.

    origin: where the model was.
    ends: whether a text has an end.
    sentences: whether that folder says how texts become vectors.
    """

    kind: ClassVar[str] = "imported"
    origin: str
    ends: bool = True
    sentences: bool = False

    @property
    def documents(self) -> bool:
        return self.ends

    def load(self) -> dict[str, Texts]:
        """Raises UserError."""
        raise UserError(
            "this model was imported, and its data were not; name some of your own: data.kind=text data.path=..."
        )
