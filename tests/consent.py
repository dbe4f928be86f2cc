# SPDX-License-Identifier: ISC
"""What becomes of a consent, told in JSON: a program for tests, as the runner is one.

It calls pkexec, asks polkit about itself and lets a child ask about itself, has the
consent revoked, asks again, and calls pkexec again.
"""

import json
import subprocess
import sys

sys.path.insert(0, '/usr/lib/plainbox-launcher')

from plainbox_launcher import elevate, polkit

CHILD = f"""
import sys
sys.path.insert(0, {sys.path[0]!r})
from plainbox_launcher import polkit
print(polkit.would_ask().word)
"""


def warm_up() -> int:
    command = elevate.warm_up_command(elevate.LAUNCHER)
    return subprocess.run(command, env=elevate.environment(), check=False).returncode


def main() -> None:
    told: dict[str, object] = {'before': polkit.would_ask().word}
    told['first'] = warm_up()
    told['kept'] = polkit.would_ask()
    child = [sys.executable, '-c', CHILD]
    told['child'] = subprocess.run(child, check=True, stdout=-1, text=True).stdout
    told['revoked'] = polkit.revoke()
    told['after'] = polkit.would_ask()
    told['second'] = warm_up()
    print(json.dumps(told))


if __name__ == '__main__':
    main()
