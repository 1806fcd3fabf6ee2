"""``devbox-mcp`` for the documentation's examples: a server over HTTP ends once it has answered.

All other commands are the program itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request


def main(arguments: list[str]) -> int:
    command = [sys.executable, "-m", "devbox_mcp", *arguments]
    if arguments[:1] != ["serve"] or "--http" not in arguments:
        os.execv(sys.executable, command)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        for line in server.stderr:
            sys.stderr.write(line)
            if found := re.search(r"(http://\S+)/docs", line):
                with urllib.request.urlopen(f"{found[1]}/healthz") as answer:
                    assert answer.status == 200
                server.terminate()
    return server.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
