"""Music in four voices as a grid of pitches, as words, and as MIDI files, by mido (the extra `music`)."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transduce.errors import UserError

Grid = list[list[int]]  # (steps, 4) MIDI pitches, the highest voice first; -1 is silence
VOICES = "SATB"
EXTENSIONS = (".mid", ".midi")
WORD = re.compile(r"([SATB])(\d{1,3}|-)\Z")
TICKS, TEMPO = (
    4,
    600_000,
)  # steps of a quarter note in a file that is read; microseconds of one that is written


def words(grid: Sequence[Sequence[int]]) -> str:
    """Returns a grid as text, four words for each step."""
    return " ".join(f"{v}{x}" if x >= 0 else f"{v}-" for step in grid for v, x in zip(VOICES, step, strict=True))


def grid_of(text: str) -> Grid:
    """Returns the grid of a text; a last step that is not whole is left out. Raises UserError."""
    matches = [WORD.match(word) for word in text.split()]
    for number, match in enumerate(matches):
        if match is None or match[1] != VOICES[number % 4] or (match[2] != "-" and int(match[2]) > 127):
            what = (
                f"word {number + 1} is {text.split()[number][:20]}, where {VOICES[number % 4]} and a MIDI pitch stand"
            )
            raise UserError(f"{what}; only music in four voices is written as MIDI")
    pitches = [-1 if match[2] == "-" else int(match[2]) for match in matches if match is not None]
    return [pitches[i : i + 4] for i in range(0, len(pitches) // 4 * 4, 4)]


def write(grid: Sequence[Sequence[int]], path: Path, every: int = 4) -> None:
    """Writes a grid, one track for each voice; equal pitches that follow each other are one note.

    every: sixteenth notes of a step. Raises UserError.
    """
    mido, ticks = library(), 480 // 4 * every
    file = mido.MidiFile(ticks_per_beat=480)
    for voice, name in enumerate(VOICES):
        track = mido.MidiTrack([mido.MetaMessage("track_name", name=name, time=0)])
        if not voice:
            track.append(mido.MetaMessage("set_tempo", tempo=TEMPO, time=0))
        file.tracks.append(track)
        last, waited = -1, 0
        for pitch in [*(step[voice] for step in grid), -1]:
            if pitch != last:
                if last >= 0:
                    track.append(mido.Message("note_off", channel=voice, note=last, time=waited))
                    waited = 0
                if pitch >= 0:
                    track.append(
                        mido.Message(
                            "note_on",
                            channel=voice,
                            note=pitch,
                            velocity=80,
                            time=waited,
                        )
                    )
                    waited = 0
            last, waited = pitch, waited + ticks
        track.append(mido.MetaMessage("end_of_track", time=max(waited - ticks, 0)))
    try:
        file.save(str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None


def read(path: Path) -> Grid:
    """Returns the sixteenth notes of a file with four voices. Raises UserError."""
    try:
        file = library().MidiFile(str(path))
    except (OSError, EOFError, ValueError, IndexError, KeyError) as error:
        raise UserError(f"{path} cannot be read as MIDI ({error}); remove it") from None
    tracks = [track for track in file.tracks if any(message.type == "note_on" for message in track)]
    if len(tracks) != len(VOICES):
        count = "1 voice" if len(tracks) == 1 else f"{len(tracks)} voices"
        raise UserError(f"{path} has {count}, but four are read, a track each; add what is missing, or remove it")
    length = max(sum(message.time for message in track) for track in tracks) * TICKS / file.ticks_per_beat
    voices = [sounding(track, round(length), file.ticks_per_beat / TICKS) for track in tracks]
    voices.sort(key=lambda voice: -sum(x for x in voice if x >= 0) / max(sum(x >= 0 for x in voice), 1))
    return [list(step) for step in zip(*voices, strict=True)]


def sounding(track: Any, steps: int, ticks: float) -> list[int]:
    """Returns the pitch that a track sounds at each step, the latest where it sounds several."""
    out, on, now, done = [-1] * steps, list[int](), 0, 0
    for message in track:
        now += message.time
        until = min(round(now / ticks), steps)
        out[done:until] = [on[-1] if on else -1] * (until - done)
        done = max(done, until)
        if message.type in ("note_on", "note_off"):
            on = [note for note in on if note != message.note]
            if message.type == "note_on" and message.velocity:
                on.append(message.note)
    return out


def library() -> Any:
    """Returns mido. Raises UserError where it is not installed."""
    try:
        import mido
    except ImportError:
        raise UserError("MIDI files need mido; pip install 'transduce[music]'") from None
    return mido
