"""Conversations to ids: the chat template of a tokeniser, in which nobody can end a turn by what is typed.

A template is rendered with a placeholder in the place of each content, and the result is parted at the special tokens
that stand in the template itself. What lies between them is text like any other, contents included, so a special token
that is typed is cut into pieces. Where no content looks like one, the ids are those of `apply_chat_template` in
transformers.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import tokenizers

from transduce.errors import UserError
from transduce.text.parting import Part, Specials, filled, parted, with_ends
from transduce.text.sandbox import CLOSES, OPENS, Rendered, compiled
from transduce.text.tokenizer import Tokenizer

ASSISTANT, USER, SYSTEM = "assistant", "user", "system"
ROLES = (SYSTEM, "developer", USER, ASSISTANT, "tool")
STARTS, ENDS = "<|im_start|>", "<|im_end|>"
# ChatML (OpenAI 2023), with <s> and </s> as the borders of a turn where the tokeniser has no tokens for that.
CHATML = (
    "{% for message in messages %}{{ START + message.role + '\n' + message.content + END + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ START + 'assistant\n' }}{% endif %}"
)
CORE = re.compile("\ue000(\\d+)\ue001")
PROBE = ({"role": USER, "content": "a"}, {"role": ASSISTANT, "content": "b"})

Message = Mapping[str, str]  # role, content


class Cut(NamedTuple):
    """A conversation as ids. own: whether each is one that the assistant writes, the end of its turn included."""

    ids: list[int]
    own: list[bool]


@dataclass(frozen=True)
class Chat:
    """A tokeniser with the template by which it writes conversations. source: the template."""

    tokenizer: Tokenizer
    source: str

    @functools.cached_property
    def render(self) -> Rendered:
        return compiled(self.source)

    @property
    def published(self) -> str:
        """The template as other libraries render it, which do not know START and END."""
        own = {name: self.variables[name] for name in ("START", "END") if re.search(rf"\b{name}\b", self.source)}
        return "".join(f"{{% set {name} = {json.dumps(token)} %}}" for name, token in own.items()) + self.source

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Returns the ids of a conversation up to where the assistant answers. Raises UserError."""
        return self.cut(messages, answers=True).ids

    def cut(self, messages: Sequence[Message], *, answers: bool = False) -> Cut:
        """Returns a conversation as ids. answers: the beginning of the assistant's next turn follows.

        Raises UserError where the template refuses the conversation, leaves something out or takes it apart.
        """
        ids, own = list[int](), list[bool]()
        for place, part in enumerate(self.parts(messages, answers)):
            if part.id is not None:
                ids.append(part.id)
                own.append(bool(part.own))
                continue
            row, spans = self.encoded(part, first=place == 0)
            ids += row
            own += [any(start < high and low < end for low, high in part.own) for start, end in spans]
        return Cut(ids, own)

    @functools.cached_property
    def end(self) -> int:
        """Returns the special token that ends a turn of the assistant. Raises UserError where there is none."""
        ids, own = self.cut(PROBE)
        return next(i for i, mine in zip(reversed(ids), reversed(own), strict=True) if mine)

    def parts(self, messages: Sequence[Message], answers: bool) -> list[Part]:
        """Returns a rendered conversation, parted at the special tokens of its template."""
        text = self.rendered(messages, answers, spaces=False)
        require_marked(text)
        require_whole(text, messages)
        pieces = CORE.split(text)  # literal, number, literal, ...
        literals, numbers = pieces[::2], [int(number) for number in pieces[1::2]]
        contents = [messages[number]["content"].strip() for number in numbers]
        if any(message["content"] != message["content"].strip() for message in messages):
            whole = CORE.split(self.rendered(messages, answers, spaces=True))
            around = spaces_of(whole[::2], literals, [messages[number]["content"] for number in numbers])
            contents = [f"{lead}{text}{trail}" for text, (lead, trail) in zip(contents, around, strict=True)]
        bare, typed, own = filled(literals, contents, [messages[number]["role"] == ASSISTANT for number in numbers])
        parts = parted(bare, typed, own, self.specials)
        return parts if OPENS in text or not own else with_ends(parts)

    def rendered(self, messages: Sequence[Message], answers: bool, *, spaces: bool) -> str:
        """Returns a conversation as the template writes it. spaces: with the white space around each content."""
        given = placeholders(messages, spaces)
        return self.render({**self.variables, "messages": given, "add_generation_prompt": answers})

    @functools.cached_property
    def variables(self) -> dict[str, Any]:
        """The tokens that a template may name."""
        tokenizer, names = self.tokenizer, {"bos_token": self.tokenizer.bos, "eos_token": self.tokenizer.eos}
        names |= {"pad_token": tokenizer.pad, **({} if tokenizer.unk is None else {"unk_token": tokenizer.unk})}
        tokens = {name: tokenizer.tokenizer.id_to_token(i) or "" if i >= 0 else "" for name, i in names.items()}
        marks = [tokenizer.tokenizer.token_to_id(mark) for mark in (STARTS, ENDS)]
        start, end = (STARTS, ENDS) if None not in marks else (tokens["bos_token"], tokens["eos_token"])
        return {**tokens, "START": start, "END": end, "tools": None, "documents": None}

    @functools.cached_property
    def specials(self) -> Specials:
        return Specials.of(self.tokenizer, self.source)

    def encoded(self, part: Part, first: bool) -> tuple[list[int], list[tuple[int, int]]]:
        """Returns the ids of a stretch of text, and where each stands in it."""
        ids, spans = list[int](), list[tuple[int, int]]()
        for start, end in self.specials.pieces(part):
            text = part.text[start:end]
            inner = self.tokenizer if first and start == 0 else self.inner
            ids += inner.encode(text)
            if part.own:
                offsets = inner.tokenizer.encode(text, add_special_tokens=False).offsets
                spans += [(start + low, start + high) for low, high in offsets]
        return ids, spans or [(0, 0)] * len(ids)

    @functools.cached_property
    def inner(self) -> Tokenizer:
        """The tokeniser as it cuts what stands behind a special token: SentencePiece puts no space before that."""
        data = json.loads(self.tokenizer.tokenizer.to_str())
        if '"prepend_scheme": "first"' not in json.dumps(data):
            return self.tokenizer
        text = json.dumps(data).replace('"prepend_scheme": "first"', '"prepend_scheme": "never"')
        return Tokenizer(tokenizers.Tokenizer.from_str(text), self.tokenizer.marks)


def chat_of(tokenizer: Tokenizer, chat: str | None) -> Chat:
    """Returns how a tokeniser writes conversations. chat: chatml, a template, or None, its own, and where it has none
    chatml. Raises UserError for what is neither."""
    if chat is None:
        return Chat(tokenizer, tokenizer.marks.chat or CHATML)
    if chat == "chatml":
        return Chat(tokenizer, CHATML)
    if "{" not in chat:
        raise UserError(f"task.chat={chat} is no chat template; use chatml, or the text of a template in Jinja")
    return Chat(tokenizer, chat)


def placeholders(messages: Sequence[Message], spaces: bool) -> list[dict[str, str]]:
    """Returns messages with a placeholder for each content, and with the white space around it where `spaces`."""
    out = list[dict[str, str]]()
    for number, message in enumerate(messages):
        if message["role"] not in ROLES:
            raise UserError(f"message {number} has the role {message['role']!r}; use {', '.join(ROLES)}")
        lead, trail = margins(message["content"]) if spaces else ("", "")
        out.append({"role": message["role"], "content": f"{lead}\ue000{number}\ue001{trail}"})
    return out


def margins(content: str) -> tuple[str, str]:
    """Returns the white space before and behind a content; of a blank one all of it stands before."""
    lead = content[: len(content) - len(content.lstrip())]
    return lead, content[len(content.rstrip()) :] if content.strip() else ""


def spaces_of(whole: Sequence[str], literals: Sequence[str], contents: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the white space that a template leaves before and behind each content.

    whole: what stands between the placeholders where each has its white space. literals: the same without.
    """
    if len(whole) != len(literals):
        raise UserError("the chat template takes a message apart; give another with task.chat, such as chatml")
    edges = [("", ""), *map(margins, contents), ("", "")]
    before, behind = list[str](), list[str]()
    for text, literal, (_, trail), (lead, _) in zip(whole, literals, edges, edges[1:], strict=False):
        more = len(text) - len(literal)
        ends = sorted(range(more + 1), key=lambda n: (n not in (len(trail), 0), -n))
        split = next((n for n in ends if text[n : n + len(literal)] == literal), None)
        if split is None or split > len(trail) or more - split > len(lead):
            raise UserError("the chat template takes a message apart; give another with task.chat, such as chatml")
        behind.append(text[:split])
        before.append(text[split + len(literal) :])
    return list(zip(before[:-1], behind[1:], strict=True))


def require_marked(text: str) -> None:
    """Raises UserError unless the marks of {% generation %} come in pairs, one behind the other."""
    marks = [c for c in text if c in (OPENS, CLOSES)]
    if marks != [OPENS, CLOSES] * (len(marks) // 2):
        raise UserError("the chat template has a {% generation %} inside another; give another with task.chat")


def require_whole(text: str, messages: Sequence[Message]) -> None:
    """Raises UserError where a content was left out of a rendered template, or taken apart."""
    present = {int(number) for number in CORE.findall(text)}
    if missing := [i for i in range(len(messages)) if i not in present]:
        what = f"the chat template leaves out message {missing[0]}, which the {messages[missing[0]]['role']} says"
        raise UserError(f"{what}; take it out of the data, or give another with task.chat, such as chatml")
    if any(c in CORE.sub("", text) for c in "\ue000\ue001"):
        raise UserError("the chat template takes a message apart; give another with task.chat, such as chatml")


def written(text: str) -> list[Any] | None:
    """Returns the messages that stand in a text as JSON; None: it is no such text."""
    try:
        value: Any = json.loads(text) if text.lstrip().startswith("[{") else None
    except (ValueError, RecursionError):
        return None
    rows = cast("list[Any]", value) if isinstance(value, list) else []
    return rows if rows and all(isinstance(row, dict) and "role" in row for row in rows) else None


def conversation(value: Any) -> list[dict[str, str]]:
    """Returns messages that are written as JSON, or a text as what the user says. Raises UserError."""
    if isinstance(value, str):
        value = written(value) or [{"role": USER, "content": value}]
    rows = cast("list[Any]", value) if isinstance(value, list | tuple) else []
    if not rows or not all(isinstance(row, Mapping) and "role" in row and "content" in row for row in rows):
        raise UserError(
            f"{str(cast('Any', value))[:60]!r} is no conversation; write [{{'role': 'user', 'content': ...}}]"
        )
    out = [{"role": str(row["role"]), "content": row["content"]} for row in rows]
    if odd := next((row for row in out if not isinstance(row["content"], str)), None):
        raise UserError(f"a message of the {odd['role']} holds {type(odd['content']).__name__}, but text is asked for")
    return out
