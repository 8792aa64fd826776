"""Frozen dataclasses from plain data and back, with errors that name the nearest valid key.

A config is a frozen, keyword-only dataclass whose fields are numbers, strings, booleans, tuples, other configs, or
`Part`s. A `Part` is one of several kinds that live in a folder, one file each: the folder is walked, so a new kind is
a new file and no list is edited. Other packages add kinds through the entry-point group named like the folder.
"""

from transduce.config.descriptions import descriptions as descriptions
from transduce.config.explaining import Key as Key
from transduce.config.explaining import explain as explain
from transduce.config.keys import ALIASES as ALIASES
from transduce.config.keys import keys as keys
from transduce.config.keys import nearest as nearest
from transduce.config.part import Part as Part
from transduce.config.part import UnknownKind as UnknownKind
from transduce.config.part import default_of as default_of
from transduce.config.part import kinds as kinds
from transduce.config.part import owners as owners
from transduce.config.reading import from_data as from_data
from transduce.config.schema import schema as schema
from transduce.config.writing import merge as merge
from transduce.config.writing import override as override
from transduce.config.writing import to_data as to_data
