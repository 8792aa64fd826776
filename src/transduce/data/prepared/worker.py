"""A process that encodes texts: requests come on standard input, ids go to standard output.

A request is a line of JSON: for each column its texts, and whether a decoder writes them. An answer is a line of JSON
with the sizes, then the bytes: for each column the ids, how many each text has, and before them how many are <unk>.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np


def serve(folder: Path) -> None:
    """Answers until standard input ends."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    from transduce.errors import UserError
    from transduce.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder)
    narrow = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    while size := incoming.read(8):
        columns: list[Any] = json.loads(incoming.read(int.from_bytes(size, "little")))
        try:
            found = [tokenizer.encode_flat(texts, answers=answers) for texts, answers in columns]
        except UserError as error:
            head, parts = {"error": str(error)}, list[bytes]()
        else:
            parts = [part for flat, rows in found for part in (flat.astype(narrow).tobytes(), rows.tobytes())]
            unknown = [0 if tokenizer.unk is None else int((flat == tokenizer.unk).sum()) for flat, _ in found]
            head = {"sizes": [len(part) for part in parts], "unknown": unknown}
        line = json.dumps(head).encode()
        outgoing.write(len(line).to_bytes(8, "little") + line + b"".join(parts))
        outgoing.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
