import pytest

from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.stop import StopTexts, TextStream, cut


class Bytes:
    """A token is a byte."""

    bos, eos = 256, 257

    def decode(self, ids: list[int], /) -> str:
        return bytes(i for i in ids if i < 256).decode(errors="replace")


class Slow:
    """Text that comes as it becomes final: characters, never halves of them."""

    def __init__(self) -> None:
        self.rest = b""

    def push(self, id: int, /) -> str:
        self.rest += bytes([id])
        try:
            text, self.rest = self.rest.decode(), b""
        except UnicodeDecodeError:
            return ""
        return text

    def finish(self) -> str:
        text, self.rest = self.rest.decode(errors="replace"), b""
        return text


@pytest.mark.parametrize("stop", ["\n\n", "é", "b😀", "THE END"])
@pytest.mark.parametrize("before", ["", "x", "a long text before it, of é and 😀 and more 😀😀😀" * 3])
def test_a_stop_text_is_found_with_the_token_that_completes_it(stop: str, before: str):
    found, ids = StopTexts(Bytes().decode, (stop, "never")), list((before + stop).encode())
    if stop not in before:
        assert [found(ids[:n]) for n in range(1, len(ids) + 1)] == [False] * (len(ids) - 1) + [True]
    assert found(ids)


def test_a_token_may_hold_more_than_the_stop_text():
    texts = ["", "ab", "cde", "f"]
    found = StopTexts(lambda ids: "".join(texts[i] for i in ids), ("bc",))
    assert not found([1])
    assert found([1, 2])
    assert not found([1, 2, 3]), "it ended before the last token"


def test_cut_ends_before_the_first_stop_text():
    assert cut("one. two; three", (";", ".")) == "one"
    assert cut("one", (".",)) == "one"
    assert cut("one.", ()) == "one."


@pytest.mark.parametrize("text", ["one. two", "one", "one.", "on..e", "😀é. x", ".", ""])
@pytest.mark.parametrize("stop", [(), (".",), (". t", "e"), ("..",)])
def test_a_stream_gives_the_text_before_the_stop_and_nothing_it_must_take_back(text: str, stop: tuple[str, ...]):
    stream, out = TextStream(Slow(), stop), ""
    for id in text.encode():
        out += stream.push(id)
        assert cut(text, stop).startswith(out)
    assert out + stream.finish() == cut(text, stop)
    assert stream.done == (cut(text, stop) != text)


def test_what_cannot_begin_a_stop_text_is_given_at_once():
    stream = TextStream(Slow(), ("##",))
    assert [stream.push(id) for id in b"ab#c##d"] == ["a", "b", "", "#c", "", "", ""]


@pytest.mark.parametrize("beam_size", [1, 3])
def test_decoding_stops_at_a_stop_text_that_spans_tokens(markov, letters, beam_size: int):
    for seed in range(20):
        model = markov(vocab_size=10, seed=seed, sharp=2.0)
        config = GenerateConfig(beam_size=beam_size, max_new_tokens=12, stop=("abc", "cd"))
        (best,) = decode(model, letters, config, prompt=[[1]])[0]
        text = letters.decode(best.ids)
        assert best.stopped == ("abc" in text or "cd" in text)
        assert not any(stop in letters.decode(best.ids[:-1]) for stop in config.stop)
        assert best.finished or len(best.ids) == 12


def test_greedy_with_a_stop_text_is_greedy_cut_short(markov, letters):
    stopped = 0
    for seed in range(30):
        model = markov(vocab_size=10, seed=seed, sharp=2.0)
        free = decode(model, letters, GenerateConfig(max_new_tokens=20), prompt=[[1]])[0][0]
        best = decode(model, letters, GenerateConfig(max_new_tokens=20, stop=("abc", "?")), prompt=[[1]])[0][0]
        assert free.ids[: len(best.ids)] == best.ids
        assert best.ids == free.ids or best.stopped
        stopped += best.stopped
    assert stopped > 5, "the test should see some"
