"""Clients as others wrote them: the `openai` package, and what `lm_eval --model local-completions` asks and reads."""

from operator import itemgetter

import pytest

from transduce.text.tokenizer import Marks, Tokenizer

openai = pytest.importorskip("openai", reason="the client is not installed")


@pytest.fixture
def client(served):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{served.port}/v1", api_key="none", max_retries=0) as one:
        yield one


def test_completions_whole_and_as_a_stream(client, models):
    assert {model.id for model in client.models.list()} == set(models)
    given = {"model": "lines", "prompt": "the quick", "max_tokens": 9, "temperature": 0.7, "seed": 5}
    one = client.completions.create(**given, n=2, logprobs=3)
    assert [choice.index for choice in one.choices] == [0, 1]
    assert one.usage.completion_tokens <= 18
    for choice in one.choices:
        assert all(len(top) in (3, 4) for top in choice.logprobs.top_logprobs)
        assert "".join(t for t in choice.logprobs.tokens if len(t) == 1) == choice.text
    texts = ["", ""]
    for event in client.completions.create(**given, n=2, stream=True):
        for choice in event.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in one.choices]
    again = client.completions.create(**given, n=2)
    assert [choice.text for choice in again.choices] == texts
    other = client.completions.create(**{**given, "seed": 6}, n=2)
    assert [choice.text for choice in other.choices] != texts


def test_stop_ids_and_echo(client, models):
    tokenizer, given = models["lines"].tokenizer, {"model": "lines", "max_tokens": 30, "temperature": 0}
    ids = models["lines"].task.prompt(models["lines"].readers, "the q")
    whole = client.completions.create(prompt="the q", **given).choices[0].text
    assert client.completions.create(prompt=ids, **given).choices[0].text == whole
    assert client.completions.create(prompt="the q", echo=True, **given).choices[0].text == "the q" + whole
    stop = whole[3:5]
    assert client.completions.create(prompt="the q", stop=stop, **given).choices[0].text == whole[: whole.index(stop)]
    events = list(client.completions.create(prompt="the q", stop=[stop], stream=True, **given))
    assert "".join(event.choices[0].text for event in events) == whole[: whole.index(stop)]
    assert tokenizer.decode(ids) == "the q"


def test_embeddings(client, models):
    import numpy as np

    out = client.embeddings.create(model="encoder", input=["red dog", "dog"])
    vectors = np.array([one.embedding for one in out.data], np.float32)
    np.testing.assert_array_equal(vectors, models["encoder"].embed(["red dog", "dog"]))


def test_errors_are_those_of_the_client(client):
    with pytest.raises(openai.NotFoundError, match="this server has"):
        client.completions.create(model="nobody", prompt="a")
    with pytest.raises(openai.BadRequestError, match="not on conversations; use generate, or teach it"):
        client.chat.completions.create(model="lines", messages=[{"role": "user", "content": "a"}])


TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}assistant:"


def test_a_model_with_a_template_talks(client, models, monkeypatch):
    tokenizer: Tokenizer = models["lines"].tokenizer
    marks = Marks(pad=0, bos=1, eos=2, unk=3, rows=tokenizer.vocab_size, opens=(1,), chat=TEMPLATE)
    monkeypatch.setattr(tokenizer, "marks", marks)
    messages = [{"role": "user", "content": "the fox"}]
    given = {"model": "lines", "messages": messages, "max_tokens": 8, "temperature": 0}
    one = client.chat.completions.create(**given, logprobs=True, top_logprobs=2)
    message = one.choices[0].message
    assert message.role == "assistant"
    assert len(one.choices[0].logprobs.content[0].top_logprobs) == 2
    events = list(client.chat.completions.create(**given, stream=True, stream_options={"include_usage": True}))
    texts = [event.choices[0].delta.content or "" for event in events if event.choices]
    assert "".join(texts) == message.content
    assert events[-1].usage.completion_tokens == one.usage.completion_tokens
    typed = [{"role": "user", "content": "</s> is text"}]
    whole = client.chat.completions.create(**{**given, "messages": typed})
    assert whole.usage.prompt_tokens > one.usage.prompt_tokens, "what looks like a mark is text"


@pytest.mark.parametrize("said", ["red dog 7?", [{"type": "text", "text": "red "}, {"type": "text", "text": "dog 7?"}]])
def test_a_model_that_learnt_conversations_answers_as_in_the_library(said, client, models):
    messages = [{"role": "user", "content": said}]
    one = client.chat.completions.create(model="talk", messages=messages, max_tokens=12, temperature=0)
    assert one.choices[0].message.content == models["talk"].chat("red dog 7?", max_new_tokens=12, temperature=0.0)


def test_the_contract_of_lm_eval(served, models):
    """Its request for log-likelihoods, and how it reads the answer: `TemplateAPI._create_payload` and
    `LocalCompletionsAPI.parse_logprobs` of lm_eval 0.4."""
    model = models["lines"]
    pairs = [("the quick", " brown fox"), ("dog", " over"), ("a", "b"), ("the lazy dog jumps ", "over")]
    words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]
    pairs += [(" ".join(words[n % 7 :]) + f" {n}", f" {words[n % 9]} {n}") for n in range(96)]
    texts = model.score([context + rest for context, rest in pairs])
    for most in (0, 1):
        rows, lengths = list[list[int]](), list[int]()
        for context, rest in pairs:
            ids = [model.tokenizer.bos, *model.tokenizer.encode(context)]
            lengths.append(len(ids))
            rows.append([*ids, *model.tokenizer.encode(rest)])
        body = {"model": "lines", "prompt": rows, "temperature": 0, "max_tokens": most, "logprobs": 1, "seed": 1234}
        _, out = served.ask("/v1/completions", {**body, "echo": True})
        for choice, start, row, one in zip(
            sorted(out["choices"], key=itemgetter("index")), lengths, rows, texts, strict=True
        ):
            end = len(choice["logprobs"]["token_logprobs"]) - most
            values = choice["logprobs"]["token_logprobs"][start:end]
            greedy = all(
                p == max(top.values())
                for p, top in zip(values, choice["logprobs"]["top_logprobs"][start:end], strict=True)
            )
            assert sum(values) == pytest.approx(sum(one.tokens[start - 1 : len(row) - 1]), abs=1e-5)
            assert greedy in (True, False)


def test_answers_of_a_form(served) -> None:
    pytest.importorskip("llguidance", reason="the extra `forms` is not installed")
    asked = {"model": "lines", "prompt": "the", "max_tokens": 30, "seed": 1, "temperature": 1.0}
    (choice,) = served.ask("/v1/completions", {**asked, "regex": "(red|dog){2}"})[1]["choices"]
    assert choice["text"] in {"redred", "reddog", "dogred", "dogdog"}
    assert choice["finish_reason"] == "stop"
    status, answer = served.ask("/v1/completions", {**asked, "response_format": {"type": "yaml"}})
    assert status == 400
    assert "json_object" in answer["error"]["message"]
    assert served.ask("/v1/completions", {**asked, "regex": "[a-"})[0] == 400


def test_responses_whole_and_as_a_stream(client, models):
    given = {"model": "talk", "input": "red dog 7?", "max_output_tokens": 12, "temperature": 0}
    one = client.responses.create(**given)
    assert one.output_text == models["talk"].chat("red dog 7?", max_new_tokens=12, temperature=0.0)
    assert (one.status == "completed") == (one.usage.output_tokens < 12 or one.incomplete_details is None)
    assert one.usage.total_tokens == one.usage.input_tokens + one.usage.output_tokens
    part = {"type": "input_text", "text": "red dog 7?"}
    typed = [{"type": "message", "role": "user", "content": [part]}]
    again = client.responses.create(**{**given, "input": typed}, metadata={"a": "b"})
    assert (again.output_text, again.metadata) == (one.output_text, {"a": "b"})
    events = list(client.responses.create(**given, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    names = [event.type.removeprefix("response.") for event in events]
    assert names[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert set(names[4:-4]) == {"output_text.delta"}
    assert names[-4:] == ["output_text.done", "content_part.done", "output_item.done", one.status]
    assert "".join(event.delta for event in events[4:-4]) == events[-4].text == one.output_text
    last = events[-1].response
    assert (last.output_text, last.usage, last.status) == (one.output_text, one.usage, one.status)
    with client.responses.stream(**given) as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
    assert "".join(texts) == one.output_text


def test_responses_have_logprobs_instructions_and_a_seed(client):
    given = {"model": "talk", "input": [{"role": "user", "content": "red dog 3?"}], "max_output_tokens": 4}
    include, drawn = ["message.output_text.logprobs"], {"temperature": 0.8, "top_p": 0.9, "extra_body": {"seed": 4}}
    one = client.responses.create(**given, **drawn, include=include, top_logprobs=2, instructions="Be brief.")
    (content,) = one.output[0].content
    assert len(content.logprobs) in (one.usage.output_tokens, one.usage.output_tokens - 1)
    assert {len(place.top_logprobs) for place in content.logprobs} == {2}
    assert (one.instructions, one.temperature, one.top_p) == ("Be brief.", 0.8, 0.9)
    same = client.responses.create(**given, **drawn, instructions="Be brief.")
    assert same.output_text == one.output_text
    assert same.usage.input_tokens > client.responses.create(**given, **drawn).usage.input_tokens


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"previous_response_id": "resp_1"}, "nothing is kept here between requests"),
        ({"background": True}, "waited for"),
        ({"tools": [{"type": "web_search"}]}, "`tools` is not known here"),
        ({"input": [{"type": "item_reference", "id": "a"}]}, "only messages are known"),
        ({"input": []}, "must be a text, or a list of messages"),
        ({"truncation": "auto"}, "is not cut here"),
        ({"top_logprobs": 3}, "top_logprobs says"),
        ({"n": 2}, "where one answer is given"),
        ({"max_output_tokens": 0}, "must be from 1"),
        ({"text": {"format": {"type": "yaml"}}}, "json_object"),
        ({"metadata": {"a": "\ud800"}}, "half a character"),
        ({"model": "lines"}, "not on conversations"),
        ({"beam_size": 2, "stream": True}, "stream with beam_size=1"),
    ],
)
def test_what_responses_do_not_know_is_one_sentence(served, more, said):
    status, answer = served.ask("/v1/responses", {"model": "talk", "input": "a", "max_output_tokens": 2, **more})
    assert status == 400
    assert said in answer["error"]["message"]
