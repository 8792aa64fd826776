"""The parts that join a decoder to its encoder, and what a mixer must have to stand where it does.

Tested in tests/inspect/test_combinations.py.
"""

from dataclasses import dataclass
from typing import Literal, cast

from torch import nn

from transduce.errors import UserError
from transduce.model.block import Sublayer
from transduce.model.bridge import bridge_of, grows
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.positions.position import Positions
from transduce.model.stack import Stack
from transduce.model.sublayers import Cross, Inside, Mix

NEEDS = {  # what a place calls, where it is, and which key fills it
    "encoder": (("encode",), "in an encoder", "encoder_mixer"),
    "decoder": (("forward",), "in a decoder", "mixer"),
    "cross": (("write", "read"), "between source and target", "cross"),
    "inside": (("forward", "read"), "around a cross mixer (cross_place=inside)", "mixer"),
}


def require_role(mixer: Mixer, kind: str, role: str) -> None:
    """Raises UserError if a mixer does not have what its role calls."""
    methods, where, key = NEEDS[role]
    for method in methods:
        if method in mixer.cannot:
            raise UserError(f"{kind} cannot stand {where}: {mixer.cannot[method]} (the key is model.{key})")


@dataclass(frozen=True)
class Between:
    """The joint of a decoder and its encoder: the mixer that reads the source, where it stands, and the bridge."""

    cross: MixerConfig
    place: Literal["after", "before", "inside"]
    bridge: Literal["none", "state", "project"]
    encoder: Stack | None = None  # whose states are bridged

    def bridge_to(self, mixer: Mixer, layer: int) -> nn.Module | None:
        if self.bridge == "none" or self.encoder is None:
            return None
        return bridge_of(self.bridge, self.encoder, layer, mixer)

    def add_cross(
        self, parts: list[Sublayer], modules: dict[str, nn.Module], kind: str, config: MixerConfig, width: int
    ) -> list[Sublayer]:
        """Returns the sublayers with the one that reads the source among them, and adds its mixer to the modules."""
        if config.absent:
            return parts
        cross = config.build(width, Positions())
        require_role(cross, config.kind, "cross")
        if self.place == "inside":
            mix = parts[0] if parts else None
            if not isinstance(mix, Mix):
                raise UserError("cross_place=inside needs a mixer to stand in; use cross_place=after")
            mixer = cast(Mixer, modules[mix.mixer])
            require_role(mixer, kind, "inside")
            if grows(mixer):
                raise UserError(
                    f"cross_place=inside asks a memory of constant size before each token, but that of {kind} grows; "
                    f"use model.mixer=gru, or cross_place=after"
                )
            parts = [Inside(mix, Cross())]
        else:
            parts = [Cross(), *parts] if self.place == "before" else [*parts, Cross()]
        modules["cross"] = cross
        return parts
