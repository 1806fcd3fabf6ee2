"""Each framework's agent, with a scripted model: in a directory, and through a gateway that asks for a key."""

import subprocess

import pytest

from devbox_mcp.keys import hashed, new_key
from tests.examples.programs import AGENTS, EXAMPLES, agent, assert_mended, broken_project, pytest_in
from tests.mcp.door import http_server

EVERY_AGENT = pytest.mark.parametrize(("name", "environment"), AGENTS.items(), ids=AGENTS)


@EVERY_AGENT
def test_mends_a_failing_test_in_a_directory(programs, tmp_path, name, environment):
    project = broken_project(tmp_path)
    ran = programs.run("fix_test/fix.py", str(project), pytest_in(project), *agent(name), env=environment)
    assert_mended(ran, project)


@EVERY_AGENT
def test_goes_on_after_an_error(programs, tmp_path, name, environment):
    (tmp_path / "box" / "build" / "lib").mkdir(parents=True)
    command = [f"{name}/agent.py", str(tmp_path / "box"), "Delete the directory build."]
    ran = programs.run(*command, env=environment)
    assert ran.status == 0, ran.out + ran.err
    assert "build is gone" in ran.out
    assert not list((tmp_path / "box").iterdir())
    assert ran.calls == 2


@pytest.mark.parametrize(
    ("program", "environment"),
    [
        *((f"{name}/agent.py", environment) for name, environment in AGENTS.items()),
        *((program, "agents") for program in ("fix_test/fix.py", "csv_report/report.py")),
        *((program, "agents") for program in ("two_agents/together.py", "watcher/watch.py")),
    ],
)
def test_a_program_without_arguments_says_how_it_is_called(programs, program, environment):
    command = ["python", str(EXAMPLES / program)]
    ran = subprocess.run(command, env=programs.environment(environment), capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert f"``python {program.rpartition('/')[2]} DEVBOX" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """Five projects behind a gateway, and for each a key that reaches this one only."""
    directory = tmp_path_factory.mktemp("gateway")
    projects = {name: broken_project(directory / name) for name in AGENTS}
    keys = {name: new_key() for name in AGENTS}
    access = directory / "access.toml"
    access.write_text(
        "\n".join(
            f'[[keys]]\nname = "{name}"\nhash = "{hashed(key)}"\ndevboxes = ["{name}"]\nscopes = ["read", "write"]\n'
            for name, key in keys.items()
        )
    )
    served = [f"{name}={project}" for name, project in projects.items()]
    with http_server(directory / "log", *served, "--access", str(access)) as url:
        yield url, keys, projects


@EVERY_AGENT
def test_mends_a_failing_test_through_a_gateway(programs, gateway, name, environment):
    url, keys, projects = gateway
    errand = [url, pytest_in(projects[name]), *agent(name)]
    ran = programs.run("fix_test/fix.py", *errand, env=environment, DEVBOX_MCP_API_KEY=keys[name])
    assert_mended(ran, projects[name])


def test_a_key_that_the_gateway_does_not_know_ends_the_errand(programs, gateway, tmp_path):
    url, keys, _ = gateway
    project = broken_project(tmp_path)
    errand = [url, pytest_in(project), *agent("anthropic_messages")]
    ran = programs.run("fix_test/fix.py", *errand, DEVBOX_MCP_API_KEY=keys["langgraph"][::-1])
    assert ran.status != 0
    assert "never asked" in ran.err
