"""Run a program whose model is scripted: ``python examples/agents/scripted python my_agent.py …``

The program's own client of Anthropic's or OpenAI's API is pointed to a stand-in by environment variables, so the
program is the one that talks to a real model where there is a key. Exits with 1 where the model got other results
than its script expects, and with the program's status otherwise.
"""

from __future__ import annotations

import os
import subprocess
import sys

from server import Model, serving


def main(command: list[str]) -> int:
    """Run the command and tell what its model was asked."""
    if not command:
        print("which program? python examples/agents/scripted COMMAND…", file=sys.stderr)
        return 2
    model = Model()
    with serving(model) as url:
        # The addresses are the clients' own variables; "scripted" is no key, but a client does not start without one.
        spoken_to = {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "scripted",
            "OPENAI_BASE_URL": f"{url}/v1",
            "OPENAI_API_KEY": "scripted",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        status = subprocess.run(command, env={**os.environ, **spoken_to}, check=False).returncode
    print(f"scripted model: {model.requests} requests, {model.calls} tool calls", file=sys.stderr)
    for complaint in model.complaints():
        print(f"scripted model: {complaint}", file=sys.stderr)
    return status or bool(model.complaints())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
