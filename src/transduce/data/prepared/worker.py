"""A process that encodes texts: requests come on standard input, ids go to standard output.

A request is JSON: for each column its texts, and a truth value: a decoder writes them. An answer is JSON with the sizes
of what follows and the number of ids that are <unk> in each column, then for each column the bytes of the ids, and of
the number of ids of each text. Each JSON text comes after its length in 8 bytes.
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
            encoded = [tokenizer.encode_flat(texts, answers=answers) for texts, answers in columns]
        except UserError as error:
            head, parts = {"error": str(error)}, list[bytes]()
        else:
            parts = [part for flat, rows in encoded for part in (flat.astype(narrow).tobytes(), rows.tobytes())]
            unknown = [0 if tokenizer.unk is None else int((flat == tokenizer.unk).sum()) for flat, _ in encoded]
            head = {"sizes": [len(part) for part in parts], "unknown": unknown}
        line = json.dumps(head).encode()
        outgoing.write(len(line).to_bytes(8, "little") + line + b"".join(parts))
        outgoing.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
