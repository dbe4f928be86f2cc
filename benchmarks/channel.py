# SPDX-License-Identifier: ISC
"""What a root job costs: through the channel, with a pkexec each, and without root.

    sudo PYTHONPATH=tests:. .venv/bin/python benchmarks/channel.py [TIMES]

All in one run, in the house of the tests, one after the other in turns, so that what
else the machine does slows all alike. The job is `true`, its output goes to
/dev/null. Prints medians; asserts nothing.
"""

import sys
from pathlib import Path

from house import open_house
from probe import installed, job
from talking import conversation

MEASURE = """
import statistics

ONE = ('pkexec', '--disable-internal-agent', LAUNCHER, '--hash', hash)
null = {'stdout': subprocess.DEVNULL}


def floor():
    subprocess.run(['/bin/sh', '-c', 'true'], check=True, **null)


def channel():
    talker.ask(hash)
    assert talker.result().status == 0


def opening():
    Talker().open(hash + ':').close()


def pkexec():
    subprocess.run(ONE, check=True, **null)


def seconds(what):
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


talker = Talker().open(hash + ':')
kinds = (floor, channel, opening, pkexec)
turns = [[seconds(what) for what in kinds] for _ in range(times)]
for what, column in zip(kinds, zip(*turns)):
    say(what.__name__, statistics.median(column))
talker.close()
"""
SAYS = {
    'floor': 'sh, as the user (the floor)',
    'channel': 'a root job through the channel',
    'opening': 'opening and closing the channel',
    'pkexec': 'a root job with a pkexec of its own',
}


def main(times: int) -> None:
    """Measure each so many times."""
    with (
        open_house(Path(__file__).parent.parent) as house,
        installed(house, job('true')) as (hash_,),
        conversation(house, MEASURE, hash=hash_, times=times) as talk,
    ):
        said = talk.rest()
    medians = dict(zip(said[::2], said[1::2], strict=True))
    for name, median in medians.items():
        ratio = median / medians['channel']
        print(f'{SAYS[name]:36}{median * 1000:8.2f} ms {ratio:8.2f}')


if __name__ == '__main__':
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
