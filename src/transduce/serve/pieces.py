"""Routes about tokens: texts to ids and back, and what a client must know of a tokeniser.

Each takes the names of this server, and those of vLLM, by which `lm_eval` asks a server for the tokens of its model.
"""

from typing import Any, cast

from starlette.responses import JSONResponse, Response

from transduce.errors import UserError
from transduce.serve.asking import Body, Served


def tokenize(served: Served, body: Body, timeout: float) -> Response:
    """Cuts a text into tokens, without special ones; a `prompt` gets them unless it says otherwise, as in vLLM."""
    tokenizer = served.model.tokenizer
    if (prompt := body.take("prompt", str)) is not None:
        special, names = body.take("add_special_tokens", bool, True), body.take("return_token_strs", bool, False)
        body.end()
        ids = tokenizer.whole(prompt) if special else tokenizer.encode(prompt)
        more = {"token_strs": tokenizer.pieces(ids)} if names else {}
        limit = served.model.model.limit
        return JSONResponse({"count": len(ids), "max_model_len": limit, "tokens": ids, **more})
    texts = body.texts("text")
    body.end()
    rows = tokenizer.encode_batch(texts)
    return JSONResponse({"model": served.name, "ids": rows, "tokens": [tokenizer.pieces(row) for row in rows]})


def detokenize(served: Served, body: Body, timeout: float) -> Response:
    """Writes ids as text."""
    name = "tokens" if "tokens" in body.values else "ids"
    ids = cast("list[Any]", body.take(name, list, []))
    size = served.model.tokenizer.vocab_size
    if not all(type(i) is int and 0 <= i < size for i in ids):
        raise UserError(f"`{name}` must be a list of whole numbers from 0 to {size - 1}")
    body.end()
    text = served.model.tokenizer.decode(ids)
    return JSONResponse({"prompt": text} if name == "tokens" else {"model": served.name, "text": text})


def about(served: Served, body: Body, timeout: float) -> Response:
    """Says of a tokeniser how many tokens it has, what the special ones are called, and its chat template."""
    body.end()
    tokenizer, limit = served.model.tokenizer, served.model.model.limit
    special = {"bos": tokenizer.bos, "eos": tokenizer.eos, "pad": tokenizer.pad, "unk": tokenizer.unk}
    ids = {name: i for name, i in special.items() if i is not None and i >= 0}
    names = dict(zip(ids, tokenizer.pieces(list(ids.values())), strict=True))
    return JSONResponse({
        "model": served.name, "vocab_size": tokenizer.vocab_size, "model_max_length": limit,
        **{f"{name}_token": names.get(name) for name in special},
        **{f"{name}_token_id": ids.get(name) for name in special},
        "chat_template": tokenizer.marks.chat,
    })  # fmt: skip
