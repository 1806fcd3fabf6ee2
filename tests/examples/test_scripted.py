"""The scripted model notices what it must: a run is good only if every result was what the script expects."""

import json
import subprocess
import sys

import pytest

from tests.examples.programs import SCRIPTED

READ = {"name": "read_file", "input_schema": {"properties": {"path": {}, "line_numbers": {}}, "required": ["path"]}}
WRITE = {"name": "write_file", "input_schema": {"properties": {"path": {}, "content": {}}, "required": ["path"]}}
TASK = "The file `inbox/a.txt` arrived."

#: Asks the stand-in with the bodies it is given, and prints what is answered.
ASK = """
import json, os, sys, urllib.error, urllib.request
for path, body in json.loads(sys.argv[1]):
    url = os.environ["ANTHROPIC_BASE_URL"] + path
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        print(urllib.request.urlopen(request).read().decode())
    except urllib.error.HTTPError as error:
        print(error.read().decode())
"""


def conversation(*results, tools=(READ, WRITE), task=TASK):
    """A request of the Messages API after so many turns of one call each."""
    messages = [{"role": "user", "content": task}]
    for result in results:
        messages += [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "any", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": result}]},
        ]
    return {"model": "m", "messages": messages, "tools": list(tools)}


def ask(*bodies, path="/v1/messages"):
    """Run a program that sends these requests; its status, its output as JSON, and what was said about it."""
    requests = json.dumps([(path, body) for body in bodies])
    command = [sys.executable, str(SCRIPTED), sys.executable, "-c", ASK, requests]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    return ran.returncode, [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")], ran.stderr


LETTER, WRITTEN = "Subject: boats\n", "created notes/a.md"


def test_an_errand_to_its_end_is_a_good_run():
    status, said, summary = ask(conversation(), conversation(LETTER), conversation(LETTER, WRITTEN))
    assert status == 0, summary
    assert said[0]["content"][0]["input"] == {"path": "inbox/a.txt", "line_numbers": False}
    assert said[1]["content"][0]["input"] == {"path": "notes/a.md", "content": "- boats\n"}
    assert (said[2]["stop_reason"], said[2]["content"][0]["text"]) == ("end_turn", "a is about: boats")


@pytest.mark.parametrize(
    ("bodies", "complaint"),
    [
        ([conversation(), conversation("nothing is there")], "was to match"),
        ([conversation(), conversation(LETTER)], "left off before the end"),
        ([conversation(tools=[WRITE])], "no tool read_file is offered"),
        ([conversation(tools=[{"name": "read_file", "input_schema": {}}])], "unknown arguments"),
        ([conversation(task="Do something else.")], "no script for this task"),
        ([], "never asked"),
    ],
    ids=["another result", "left off", "no such tool", "other arguments", "another task", "not asked"],
)
def test_anything_else_is_a_bad_run(bodies, complaint):
    status, _, summary = ask(*bodies)
    assert status == 1
    assert complaint in summary


def test_what_it_does_not_speak_is_refused():
    chat = {"model": "m", "messages": [{"role": "user", "content": TASK}], "stream": True}
    _, [streaming], _ = ask(chat, path="/v1/chat/completions")
    assert "streams on Anthropic's Messages API only" in streaming["error"]["message"]
    _, [unknown], _ = ask({"model": "m", "input": "words"}, path="/v1/embeddings")
    assert "does not know /v1/embeddings" in unknown["error"]["message"]


def test_the_status_of_the_program_is_the_run_s():
    command = [sys.executable, str(SCRIPTED), sys.executable, "-c", "raise SystemExit(7)"]
    ran = subprocess.run(command, check=False, timeout=60)
    assert ran.returncode == 7
