"""A model that makes few numbers of a picture, and the picture of them.

Tested in tests/model/test_autoencoder.py.
"""

from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.embed.pictures import PictureEmbedding
from transduce.model.heads.head import Head, accurate
from transduce.model.heads.pixels import PixelsHead
from transduce.model.layout import dense
from transduce.model.models import NO_STEPS, EncoderOnly, Model, Tower
from transduce.model.posterior import Posterior
from transduce.model.state import State

LEAST, MOST = -30.0, 20.0  # of the logarithm of a variance, in the released code of latent diffusion


class Autoencoder(Model):
    """An encoder of pictures and a decoder of their latents.   Rombach et al. 2022, arXiv:2112.10752, sec. 3.1.

    project: mean and log variance of each latent, of the hidden state of its place. latents: (c, h, w). As a model of
    batches it gives the reconstruction from the means.
    """

    writes = False

    def __init__(self, encoder: EncoderOnly, decoder: EncoderOnly, width: int, channels: int) -> None:
        super().__init__()
        assert isinstance(encoder.embed, PictureEmbedding)
        self.encoder, self.decoder, self.limit = encoder, decoder, None
        self.project, self.form = nn.Linear(width, 2 * channels), (channels, *encoder.embed.shape)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self.form

    @property
    def head(self) -> Head | None:  # type: ignore[override]
        return self.decoder.head

    def to_latents(self, pictures: Tensor) -> Posterior:
        channels, rows, columns = self.form
        hidden = self.encoder.features(Batch(pictures, dense(len(pictures), 1, device=pictures.device), pictures))
        hidden = hidden[:, hidden.shape[1] - rows * columns :]  # behind a class token, if there is one
        both = accurate(self.project(hidden)).mT.reshape(-1, 2 * channels, rows, columns)
        mean, log_variance = both.chunk(2, 1)
        return Posterior(mean, log_variance.clamp(LEAST, MOST))

    def from_latents(self, latents: Tensor) -> Tensor:
        layout = dense(len(latents), 1, device=latents.device)
        hidden, head = self.decoder.features(Batch(latents, layout, latents)), self.decoder.head
        assert isinstance(head, PixelsHead)
        channels, rows, columns, patch = head.grid
        return head(hidden, self.arranged(layout)).view(-1, channels, rows * patch, columns * patch)

    def features(self, batch: Batch) -> Tensor:
        self.require_source(batch.source)
        if not batch.inputs.is_floating_point():
            raise UserError("this model makes pictures of pictures, and reads no ids; use model.kind=encoder for texts")
        return self.decoder.features(batch._replace(inputs=self.to_latents(batch.inputs).mean))

    def init_state(self, batch: int, max_len: int) -> State:
        raise UserError(NO_STEPS)

    def step(self, ids: Tensor, layout: object, state: State, memory: State = None) -> tuple[Tensor, State]:
        raise UserError(NO_STEPS)

    def towers(self) -> list[Tower]:
        own = (("encoder", self.encoder), ("decoder", self.decoder))
        return [Tower(name, one.embed, one.stack) for name, one in own]
