"""Models that remove noise.

Tested in tests/model/test_condition.py.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from transduce.errors import require_at_least
from transduce.model.architecture.encoder import EncoderConfig
from transduce.model.condition import Condition, require_pairs
from transduce.model.denoiser import Denoiser
from transduce.model.models import EncoderOnly, Model
from transduce.model.norms.norm import LayerNorm, NormConfig
from transduce.model.process.diffusion import Diffusion
from transduce.model.process.process import Process
from transduce.model.residual.adaptive import AdaptiveConfig
from transduce.model.residual.residual import ResidualConfig


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig(EncoderConfig):
    """An encoder that is told how noisy its inputs are, and perhaps their class: DiT.   Peebles & Xie 2022.

    arXiv:2212.09748, sec. 3.

    process: how data become noise, and what is predicted.
    classes: how many there are to ask for (None: those of the data).
    none: whether there is a row for no class, which guidance needs.
    frequencies: features of the sines and cosines of the time.
    ends: the slowest of them turns by the time / 10,000, as in diffusers; else it is a little faster, as in the paper.
    """

    kind: ClassVar[str] = "denoiser"
    conditions: ClassVar[bool] = True
    residual: ResidualConfig = field(default_factory=AdaptiveConfig)
    norm: NormConfig = field(default_factory=lambda: LayerNorm(eps=1e-6, gain=False))
    process: Process = field(default_factory=Diffusion)
    classes: int | None = None
    none: bool = True
    frequencies: int = 256
    ends: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(0, classes=self.classes)
        require_at_least(4, frequencies=self.frequencies)
        require_pairs(self.frequencies)

    def assembled(self, vocab_size: int) -> Model:
        plain = super().assembled(vocab_size)
        assert isinstance(plain, EncoderOnly)
        condition = Condition(self.width, self.frequencies, self.classes or 0, self.none, self.ends)
        return Denoiser(plain.embed, plain.stack, plain.head, condition, self.process)
