# SPDX-License-Identifier: ISC
"""Jobs of all kinds, for tests of the runner, and what it says of them."""

import re
import subprocess
from collections.abc import Mapping

from house import House
from launching import digests

UNITS = r"""
id: own
_summary: Of one's own
command: echo own ran as $(id -un)

id: root
plugin: shell
user: root
_summary: Of root's
_description:
 First line
 .
 last line
command: echo root ran as $(id -un)

id: fails
command: echo wrong >&2; exit 3

id: root-fails
user: root
command: exit 3

id: killed
command: kill -9 $$

id: root-killed
user: root
command: kill -9 $$

id: root-125
user: root
command: echo 'timeout: failed' >&2; exit 125

id: root-126
user: root
command: /etc/passwd

id: root-127
user: root
command: nope-nope

id: root-silent
user: root
command: exit 127

id: root-mimics
user: root
command: echo 'curl: Not authorized' >&2; exit 127

id: after
depends: own fails
command: echo after ran

id: after-own
depends: own
command: echo after-own ran

id: after-nothing
depends: nowhere
command: echo after-nothing ran

id: met
requires:
 thing.kind == 'A' and int(thing.size) > 5
 secret.open == 'yes'
command: echo met ran

id: unmet
requires: thing.kind == 'A' and int(thing.size) > 50
command: echo unmet ran

id: unmet-root
user: root
requires: thing.kind == 'C'
command: echo unmet-root ran

id: malformed
requires: open('/etc/passwd')
command: echo malformed ran

id: of-no-resource
requires: nowhere.kind == 'C'
command: echo of-no-resource ran

id: thing
plugin: resource
command: printf 'kind: A\nsize: 10\n\nkind: B\nsize: 100\n'

id: broken
plugin: resource
command: echo no luck >&2; exit 5

id: of-broken
requires: broken.kind == 'C'
command: echo of-broken ran

id: secret
plugin: resource
user: root
command: test $(id -u) = 0 && echo 'open: yes'

id: round
depends: round-again

id: round-again
depends: round

id: manual
plugin: manual
_description: Look at it.

id: of-another
user: daemon
command: echo ran

id: of-nobody
user: nobody-such
command: echo ran

id: jobs
plugin: local
command:
 cat << 'EOF'
 id: made
 command: echo made ran
 .
 id: made-root
 user: root
 command: echo made-root ran as $(id -un)
 EOF

id: jobs-that-fail
plugin: local
command: echo no luck >&2; exit 4

id: jobs-of-root
plugin: local
requires: secret.open == 'yes'
command: printf 'id: made-later\ncommand: echo made-later ran\n'

id: jobs-not-here
plugin: local
requires: thing.kind == 'C'
command: printf 'id: made-never\ncommand: echo made-never ran\n'

id: share
command: touch $PLAINBOX_SESSION_SHARE/own; echo share=$PLAINBOX_SESSION_SHARE

id: share-root
user: root
command: ls $PLAINBOX_SESSION_SHARE; echo share=$PLAINBOX_SESSION_SHARE,$CHECKBOX_DATA

id: environment
environ: LISTED
command: /usr/bin/python3 -c 'import json, os; print(json.dumps(dict(os.environ)))'

id: environment-root
user: root
environ: LISTED
command: echo listed=$LISTED other=$OTHER

id: place
command: pwd; ls -A; umask

id: background
command: sleep infinity & echo started

id: root-background
user: root
command: sleep infinity & echo started

id: parents
user: root
command: tr '\0' ' ' < /proc/$(awk '{ print $4 }' /proc/$PPID/stat)/cmdline

id: waits
command: echo started; sleep infinity

id: root-waits
user: root
command: echo started; sleep infinity

unit: template
id: of-{kind}
template-resource: thing
command: echo of {kind} ran
"""
UNITS = UNITS.replace('command: [ $', 'command: test $').replace(
    ' ] && echo', ' && echo'
)

HASH = digests(UNITS)
NAMESPACE = '2026.plainbox.house'


class Ran:
    """What plainbox said and returned."""

    def __init__(self, done: subprocess.CompletedProcess[bytes]) -> None:
        self.status = done.returncode
        self.text = done.stdout.decode()
        self.lines = self.text.splitlines()
        self.errors = done.stderr.decode()

    def has(self, pattern: str) -> bool:
        """Whether a line of its output is like this."""
        return any(re.fullmatch(pattern, line) for line in self.lines)


def plainbox(
    house: House, *arguments: str, env: Mapping[str, str] | None = None
) -> Ran:
    return Ran(house.run(['plainbox', *arguments], env=env))


def run(house: House, *jobs: str) -> Ran:
    return plainbox(house, 'run', *jobs)
