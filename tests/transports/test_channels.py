"""The messages of pods/exec: what a real cluster sent, and what none may send."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox_mcp.transports.kubernetes.channels import Channels, Ended, MalformedMessage, Stderr, Stdout, to_stdin
from devbox_mcp.transports.kubernetes.refusals import never_started

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text(encoding="utf-8"))["sessions"]


def heard(messages):
    """Return stdout, stderr and the end of a session."""
    channels, stdout, stderr, end = Channels(), b"", b"", None
    for message in messages:
        event = channels.feed(message)
        if isinstance(event, Stdout):
            stdout += event.data
        elif isinstance(event, Stderr):
            stderr += event.data
        elif isinstance(event, Ended):
            end = event
    return stdout, stderr, end


def recorded(name):
    return heard(message.encode("latin-1") for message in RECORDED[name]["messages"])


def test_a_success():
    assert recorded("success") == (b"", b"", Ended(0))


def test_output_on_both_channels_and_a_status():
    stdout, stderr, end = recorded("output_then_status_3")
    assert (stdout, stderr, end.status) == (b"out \xff\n", b"err\n", 3)


def test_what_was_sent_comes_back():
    assert recorded("echo_of_stdin") == (b"hello", b"", Ended(0))


def test_a_signal_is_the_runtimes_status():
    assert recorded("killed")[2].status == 137


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("not_found_on_path", "executable file not found in $PATH"),
        ("no_shell", "executable file not found in $PATH"),
        ("no_such_file", "stat /no/such/program: no such file or directory"),
        ("not_executable", "permission denied"),
    ],
)
def test_a_program_that_was_never_started(name, why):
    stdout, stderr, end = recorded(name)
    assert (stdout, stderr, end.status, end.reason) == (b"", b"", None, "InternalError")
    program = RECORDED[name]["argv"][0]
    error = never_started(program, end)
    assert error.data == {"program": program}
    assert error.detail == f"{program} cannot be started in the container: {why}"
    assert never_started("another", end) is None


@pytest.mark.parametrize("end", [Ended(0), Ended(1), Ended(137), Ended(None, "InternalError", "no running task found")])
def test_other_ends_say_nothing_about_the_start(end):
    assert never_started("python3", end) is None


@pytest.mark.parametrize("status", [126, 127])
def test_runtimes_that_tell_it_by_the_shells_status(status):
    assert never_started("python3", Ended(status)).data == {"program": "python3"}


def test_crun_names_the_program_its_own_way():
    message = "OCI runtime error: crun: executable file `python3` not found in $PATH: No such file or directory"
    assert never_started("python3", Ended(None, "InternalError", message)).data == {"program": "python3"}


@pytest.mark.parametrize("message", [b"\1", b"\2", b"\3", b"\xff\1", b"\xff\2", b"\xff\3"])
def test_empty_messages_and_ends_of_channels_say_nothing(message):
    assert Channels().feed(message) is None


#: On a busy machine an example may take its time.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SUCCESS = b'\3{"status":"Success"}'


@pytest.mark.parametrize(
    "messages",
    [
        [b""],
        [b"\0input"],
        [b"\4resize"],
        [b"\7?"],
        [b"\xff"],
        [b"\xff\1\1"],
        [b"\3no json"],
        [b"\3\xff"],
        [b"\3[]"],
        [b"\3null"],
        [b'\3{"status":"Perhaps"}'],
        [b'\3{"status":"Failure","reason":"NonZeroExitCode"}'],
        [
            b'\3{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"x"}]}}'
        ],
        [b'\3{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":7}]}}'],
        [b'\3{"status":"Failure","reason":"NonZeroExitCode","details":[]}'],
        [SUCCESS, SUCCESS],
        [SUCCESS, b"\1late"],
    ],
)
def test_what_the_protocol_does_not_know_is_malformed(messages):
    with pytest.raises(MalformedMessage):
        heard(messages)


def test_a_failure_without_words():
    assert heard([b'\3{"status":"Failure"}'])[2] == Ended(None, "Failure")
    assert heard([b'\3{"status":"Failure","reason":1,"message":[]}'])[2] == Ended(None, "Failure")


@unhurried
@given(st.lists(st.binary(max_size=40) | st.binary(max_size=40).map(lambda data: b"\3" + data)))
def test_no_message_breaks_the_parser(messages):
    channels = Channels()
    for message in messages:
        try:
            channels.feed(message)
        except MalformedMessage:
            return


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["status", "reason", "details", "causes"]), inner),
    max_leaves=5,
)


@unhurried
@given(st.dictionaries(st.sampled_from(["status", "reason", "message", "details"]), json_values), st.booleans())
def test_no_status_breaks_the_parser(status, failed):
    if failed:
        status = {**status, "status": "Failure", "reason": "NonZeroExitCode"}
    try:
        assert isinstance(Channels().feed(b"\3" + json.dumps(status).encode()), Ended)
    except MalformedMessage:
        return


def test_input_goes_on_channel_0():
    assert to_stdin(b"abc") == to_stdin(bytearray(b"abc")) == to_stdin(memoryview(b"abc")) == b"\0abc"
