"""The page at `/`: what it loads, what it asks for, and that a person can use it in a browser."""

import re
import shutil
from typing import Any

import pytest
import torch

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def test_the_page_loads_nothing_and_asks_this_server_alone(served: Any) -> None:
    status, text = served.ask("/")
    assert status == 200
    assert "<title>transduce</title>" in text
    assert re.findall(r"(?:src|href)=\"(?!data:)", text) == re.findall(r"https?://", text) == []
    asked = set(re.findall(r"ask\(\"(/[\w/]+)\"|this.stream", text))
    looks = {"/inspect/attention", "/inspect/stages"}
    assert asked - {""} == looks | {"/translate", "/classify", "/predict", "/v1/completions", "/v1/models"}


@pytest.mark.parametrize("name", ["play", "lstm", "delta", "dates"])
def test_maps_are_those_of_the_library(name: str, served: Any, models: Any) -> None:
    text = "4 May 2021" if name == "dates" else "the quick"
    status, answer = served.ask("/inspect/attention", {"model": name, "text": text})
    assert status == 200, answer
    expected = models[name].attention(text)
    assert [(m["name"], m["kind"], m["rows"], m["columns"]) for m in answer["maps"]] == [
        (m.name, m.kind, list(m.rows), list(m.columns)) for m in expected
    ]
    for ours, theirs in zip(answer["maps"], expected, strict=True):
        torch.testing.assert_close(torch.tensor(ours["weights"]), theirs.weights.float(), atol=6e-5, rtol=0)
    one = served.ask("/inspect/attention", {"model": name, "text": text, "layer": 1})[1]
    assert one["maps"] == [m for m in answer["maps"] if "layer 1 " in m["name"]]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "`text` is missing"), ({"text": 3}, "must be a text"), ({"text": "the", "layer": 9}, "no map of layer 9"),
        ({"text": ""}, "the text is blank"), ({"text": "the", "head": 1}, "there is no key `head`"),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_at_is_one_sentence(body: dict[str, Any], said: str, served: Any) -> None:
    status, answer = served.ask("/inspect/attention", {"model": "play", **body})
    assert status == 400
    assert said in answer["error"]["message"]


@pytest.mark.parametrize("name", ["play", "lstm", "dates"])
def test_stages_are_those_of_the_library(name: str, served: Any, models: Any) -> None:
    asks = {"text": "4 May 2021", "mixer": "decoder layer 1 cross"} if name == "dates" else {"text": "the quick"}
    status, answer = served.ask("/inspect/stages", {"model": name, **asks, "temperature": 0.7, "top_k": 5})
    assert status == 200, answer
    expected = models[name].stages(asks["text"], mixer=asks.get("mixer"), temperature=0.7, top_k=5)
    assert (answer["mixer"], answer["mixers"], answer["heads"]) == expected[:3]
    for ours, theirs in zip(answer["stages"], expected.stages, strict=True):
        assert (ours["name"], ours["text"], ours["rows"]) == (theirs.name, theirs.text, list(theirs.rows))
        assert (ours["numbers"] is None) == (theirs.numbers is None)
        if theirs.numbers is not None:
            rows = [[-torch.inf if n is None else n for n in row] for row in ours["numbers"]]
            torch.testing.assert_close(torch.tensor(rows), theirs.numbers.float(), atol=1e-6, rtol=1e-4)
    assert answer["stages"][-1]["name"] == "sampling"
    for more, said in (({"head": 9}, "there is no head 9"), ({"mixer": "a"}, "no mixer `a`"), ({"layer": 1}, "no key")):
        status, answer = served.ask("/inspect/stages", {"model": name, **asks, **more})
        assert status == 400
        assert said in answer["error"]["message"]


@pytest.mark.parametrize("route", ["/inspect/attention", "/inspect/stages"])
def test_a_map_by_gradients_of_a_long_text_holds_up_nobody(route: str, served: Any) -> None:
    status, answer = served.ask(route, {"model": "lstm", "text": "a" * 65})
    assert (status, "has 65 tokens" in answer["error"]["message"]) == (400, True)
    assert served.ask(route, {"model": "delta", "text": "a" * 65})[0] == 200


def test_ids_of_tokens_lead_on_from_any_place(served: Any) -> None:
    asks = {"model": "play", "max_tokens": 6, "temperature": 0, "logprobs": 3, "return_token_ids": True}
    (whole,) = served.ask("/v1/completions", {**asks, "prompt": "the quick"})[1]["choices"]
    ids, read = whole["token_ids"], whole["prompt_token_ids"]
    assert len(ids) == len(whole["top_tokens"]) == 6
    assert [row[0]["id"] for row in whole["top_tokens"]] == ids, "greedy writes the likeliest"
    (rest,) = served.ask("/v1/completions", {**asks, "prompt": read + ids[:2], "max_tokens": 4})[1]["choices"]
    assert rest["token_ids"] == ids[2:]
    # What was read at once is not what was written one by one, to the last bit.
    assert rest["logprobs"]["token_logprobs"] == pytest.approx(whole["logprobs"]["token_logprobs"][2:], abs=1e-5)
    assert "token_ids" not in served.ask("/v1/completions", {"model": "play", "prompt": "a"})[1]["choices"][0]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize("width", [1280, 360])
def test_a_person_writes_steps_back_and_looks_inside(width: int, served: Any) -> None:
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page: Any = browser.new_page(viewport={"width": width, "height": 800})
        errors, asked = list[str](), set[str]()

        def requested(one: Any) -> None:
            if one.url.startswith("http"):
                asked.add(one.url.split("/")[2])

        def logged(one: Any) -> None:
            errors.append(getattr(one, "text", str(one)))

        page.on("console", logged)
        page.on("pageerror", logged)
        page.on("request", requested)
        page.goto(f"http://127.0.0.1:{served.port}/")
        page.locator("#model option").nth(1).wait_for(state="attached")
        page.select_option("#model", "play")
        page.fill("#text", "the quick")
        page.fill("#most", "8")
        page.fill("#seed", "3")
        page.keyboard.press("Enter")
        page.locator(".token").nth(7).wait_for()
        first = page.locator(".token").all_text_contents()
        page.locator(".token").nth(2).press("Enter")
        other = page.locator(".others button:not([disabled])").nth(1)
        other.click()
        page.locator(".token").nth(10).wait_for()
        second = page.locator(".token").all_text_contents()
        assert second[:2] == first[:2]
        assert second[2] != first[2]
        page.select_option("#second", "dates")
        page.fill("#text", "4 May 2021")
        page.click("#go")
        page.locator("table.rows tr").first.wait_for()
        page.click("#look")
        page.locator("table.map").nth(1).wait_for()
        assert page.locator("table.map").nth(1).locator("tbody tr").count() > 3
        page.click("#steps")
        stages = page.locator("ol.stages").nth(1).locator("li")
        stages.last.wait_for()
        titles = stages.locator("h3").all_text_contents()
        shown = ["lookup", "positions", "query", "key", "value", "scores", "softmax", "sum", "merge", "projection"]
        assert [one for one in titles if one in {*shown, "between", "logits", "sampling"}] == [
            *shown, "between", "logits", "sampling",
        ]  # fmt: skip
        page.locator("ol.stages button").first.press("Enter")  # all features of the first stage
        assert page.locator("ol.stages").first.locator("li").first.locator("tbody tr").first.locator("td").count() == 64
        head = page.get_by_label("Head", exact=True).last
        head.focus()
        head.select_option("2")
        page.get_by_text("the query of head 2").wait_for()
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Head"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert errors == []
        assert asked == {f"127.0.0.1:{served.port}"}
        browser.close()
