# SPDX-License-Identifier: ISC
"""The runner's end of the channel: one consent for a whole run; plainbox-channel(7)."""

import os
import socket
import subprocess
from collections.abc import Collection, Iterable
from contextlib import ExitStack, suppress
from gettext import gettext as _
from math import ceil, inf
from typing import Final

from . import elevate
from .process import NOWHERE, Ended, HungUp, Outlet, Output, Overtime, outputs, pump
from .refusals import refusal
from .trusted import frames, tree
from .trusted.errors import Refused
from .trusted.execute import Exceeded, Limits
from .trusted.files import closing
from .trusted.frames import Announce, Cancel, Hello, Open, Ready, Refusal, Run

_AT_ONCE: Final = 512  # announced requests in a frame
_LONG: Final = 10**9  # seconds; a limit beyond that is none


class TooOld(Exception):
    """The trusted launcher that is installed has no channel yet."""


class Channel:
    """A launcher at work for us, until the end of the run."""

    def __init__(self, launcher: str, requests: Collection[str]) -> None:
        """Start it, which asks for consent. Raises Refused, or TooOld."""
        self._number = 0
        self._result: frames.Ended | Refusal | None = None
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # It believes only who made the pair: unix(7).
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._process = subprocess.Popen(  # noqa: S603  # no shell
                elevate.channel_command(launcher),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=elevate.environment(),
                cwd='/',
            )
        try:
            self.view = self._open(sorted(requests))
        except BaseException:
            with suppress(PermissionError):  # once it is root's, it does not obey
                self._process.terminate()
            self.close()
            raise

    def _open(self, requests: list[str]) -> tuple[str, ...]:
        """Announce what may be asked for; returns the view that jobs have."""
        with suppress(ConnectionError):  # why it is gone, it will have said
            self._send(Hello(frames.VERSION))
            for start in range(0, len(requests), _AT_ONCE):
                self._send(Announce(tuple(requests[start : start + _AT_ONCE])))
            self._send(Open())
        match self._receive():
            case Ready(_version, view):
                return view
            case Refusal() as refused:
                raise _refused(refused)
        raise self._reason()

    def _reason(self) -> Exception:
        """Why there is no channel."""
        self._socket.close()  # in case it still listens
        _out, err = self._process.communicate()
        status, text = self._process.returncode, err.decode('utf-8', 'replace')
        if status == 2 and text.startswith('usage: '):
            return TooOld()
        if status == 0:
            return _gone()
        return elevate.reason(status, text)

    def perform(
        self,
        request: tuple[str, str],
        variables: Iterable[str],
        outlet: Outlet = NOWHERE,
        *,
        seconds: float = inf,
        limits: Limits | None = None,
    ) -> Ended:
        """Run the job with this hash and via to its end, without input.

        Interrupted, it cancels the job and returns how that ended. Raises Refused,
        and Exceeded for what is kept and goes over its `limits`.
        """
        with ExitStack() as ends:
            fds = self._start(ends, request, variables, seconds)
            out, err = outputs(*fds, outlet, limits)
            cause = self._follow((out, err), outlet, limits)
        if isinstance(self._result, frames.Ended):
            _number, status, _wall, cpu, peak, ended, left = self._result
            texts = bytes(out.text), bytes(err.text)
            return Ended(status, *texts, cause or ended, cpu / 1e6, peak, left)
        raise _refused(self._result) if self._result else _gone()

    def _start(
        self,
        ends: ExitStack,
        request: tuple[str, str],
        variables: Iterable[str],
        seconds: float,
    ) -> tuple[int, int]:
        """Have it started; returns the descriptors to read its output from."""
        self._number += 1
        self._result = None
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        null = os.open(os.devnull, os.O_RDONLY)
        for fd in out, err:
            ends.enter_context(closing(fd))
        with closing(null), closing(out_end), closing(err_end):
            limit = 0 if seconds > _LONG else ceil(seconds)
            run = Run(self._number, limit, *request, tuple(variables))
            try:
                self._send(run, null, out_end, err_end)
            except ConnectionError:
                raise _gone() from None
            except frames.Malformed:
                fact = _('its variables are more than a frame holds')
                raise refusal('PBL-VARIABLES', fact) from None
        return out, err

    def _follow(
        self, pipes: tuple[Output, Output], outlet: Outlet, limits: Limits | None
    ) -> str:
        """Until the job has ended; returns why we ended it, if we did."""
        news = self._socket.fileno()
        try:
            pump(pipes, self._finished, limits=limits, news=news, tick=outlet.tick)
        except (KeyboardInterrupt, Exceeded) as stop:
            with suppress(ConnectionError):
                self._send(Cancel(self._number))
            patience = tree.HURRY / 2 if isinstance(stop, HungUp) else inf
            try:
                pump(pipes, self._finished, seconds=patience, news=news)
            except Overtime:
                raise stop from None
            if isinstance(stop, Exceeded) or not isinstance(self._result, frames.Ended):
                raise  # who was told to stop does not go on because others are gone
            return 'hangup' if isinstance(stop, HungUp) else 'cancel'
        return ''

    def _finished(self) -> bool:
        """Whether the job has ended, or the launcher is gone."""
        try:
            while self._result is None:
                frame = self._receive(socket.MSG_DONTWAIT)
                if frame is None:
                    return True
                if isinstance(frame, frames.Ended | Refusal):
                    self._result = frame
        except BlockingIOError:
            return False
        return True

    def _send(self, frame: frames.FromRunner, *fds: int) -> None:
        socket.send_fds(self._socket, [frames.encode(frame)], fds)

    def _receive(self, flags: int = 0) -> frames.Frame | None:
        """The next frame; None at the end, or where we do not understand it."""
        try:
            try:
                data = self._socket.recv(frames.MAX_FRAME, flags)
            except ConnectionResetError:  # told once, before what was said last
                data = self._socket.recv(frames.MAX_FRAME, flags)
            return frames.decode(data) if data else None
        except (ConnectionError, frames.Malformed):
            return None

    def close(self) -> None:
        """End the channel, and so all that still runs in it."""
        self._socket.close()
        if self._process.returncode is None:
            self._process.communicate()


def _refused(frame: Refusal) -> Refused:
    return Refused(frame.code, frame.fact, frame.hint)


def _gone() -> Refused:
    return refusal('PBL-LOST', _('the trusted launcher is gone'))
