"""The commands of docs/serving.md, as they stand there."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from transduce.cli.main import app
from transduce.serve.http import GETS, POSTS

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_is_answered(served: Any, command: Any):
    own = command.replace("curl -s", "curl -s --fail-with-body").replace('"shakespeare"', '"play"')
    url = f"http://127.0.0.1:{served.port}"
    answer = subprocess.run(own.replace("$URL", url), shell=True, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stdout
    assert answer.stdout


def test_every_route_stands_on_the_page():
    assert all(f"`{route}`" in PAGE for route in (*POSTS, *GETS))


def test_the_command_lines_have_options_that_are_there():
    known = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    lines = [
        *re.findall(r"^ExecStart=(.*)$", PAGE, re.MULTILINE),
        *re.findall(r"^ENTRYPOINT (.*)$", PAGE, re.MULTILINE),
    ]
    lines += re.findall(r"^\| `(--.*?)` \|", PAGE, re.MULTILINE)
    options = {word for line in lines for word in re.findall(r"--[a-z-]+", line)}
    assert {"--key", "--port", "--rows"} <= options
    assert all(option in known for option in options)
