"""Let an agent mend a project until its tests pass: ``python fix.py DEVBOX TESTS AGENT…``

TESTS is a shell command that runs the tests; AGENT… is the command of any agent of these examples.
"""

import subprocess
import sys

ROUNDS = 3
TASK = """The tests of this project fail. Find the cause and mend it in the code; leave the tests as they are.
Then note the change for users in CHANGELOG.md. This is the end of what the tests say:

"""


def failure(tests: str) -> str:
    """What the tests say if they fail, nothing if they pass."""
    ran = subprocess.run(["sh", "-c", tests], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return (ran.stdout[-4000:] or "(they say nothing)") if ran.returncode else ""


def main(devbox: str, tests: str, *agent: str) -> int:
    for number in range(1, ROUNDS + 1):
        said = failure(tests)
        if not said:
            print("the tests pass")
            return 0
        print(f"round {number}: the tests fail, the agent looks", flush=True)
        subprocess.run([*agent, devbox, TASK + said], check=True)
    said = failure(tests)
    print(said or "the tests pass")
    return 1 if said else 0


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
