"""Where the command ``cimsim`` begins: signals first, then everything that takes time to import.

Ctrl-C ends with code 130, SIGTERM with 143, each with one line and without a traceback, whatever
the program is at. A reader that goes away (``cimsim run | head -1``) is no reason to lose a run: it
goes on without a screen and ends with code 0.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import types
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
_AGAIN_S = 0.05


class _State:
    """Which signal came, if any, and in which process."""

    code = 0
    pid = 0


class Terminated(SystemExit):
    """SIGTERM; as an exception, so that temporary files are removed on the way out."""

    def __init__(self) -> None:
        super().__init__(_CODES[signal.SIGTERM])


def main() -> None:
    """Run the command line and end the process with its code."""
    code: str | int | None = 0
    told = True
    # two of them: a signal may come while the inner one is about to leave
    try:
        try:
            install()
            from cimsim.cli.main import main as commands

            commands()
        except Terminated:
            raise
        except SystemExit as error:
            code = error.code
        _ignore()
    except BaseException:
        # code of others may turn the interrupt into an error of its own
        if not _State.code:
            raise
        told = False
    _ignore()
    if not told:
        _tell(f"{'interrupted' if _State.code == 130 else 'terminated'}; no result was written")
    # CPython remembers an interrupt inside a text that was executed (dataclasses do that) and dies
    # of SIGINT after its exit, though somebody caught it; the next text that is executed clears it
    exec("pass")
    # also where a command went on to keep what it had
    sys.exit(_State.code or code)


def install() -> None:
    """Take over the two signals, and the two standard streams where they lead into a pipe."""
    _State.pid = os.getpid()
    for number in _CODES:
        signal.signal(number, _handle)
    sys.unraisablehook = _again
    sys.stdout = _outliving(sys.stdout)
    sys.stderr = _outliving(sys.stderr)


def _handle(number: int, frame: types.FrameType | None) -> None:
    if os.getpid() != _State.pid:  # a forked worker ends as if nobody had asked
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    kind = signal.Signals(number)
    _State.code = _CODES[kind]
    if kind == signal.SIGTERM:
        raise Terminated
    raise KeyboardInterrupt


def _again(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise an interrupt anew that came inside a callback, where Python only prints it."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt | Terminated):
        number = signal.SIGTERM if _State.code == 143 else signal.SIGINT
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), number))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        return
    if not _State.code:
        sys.__unraisablehook__(unraisable)


def _ignore() -> None:
    """Let nothing disturb the end: what was to be written is written."""
    for number in _CODES:
        signal.signal(number, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)


class _Outliving(io.RawIOBase):
    """A file descriptor that swallows what is written once nobody reads it any more."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, content: ReadableBuffer) -> int:
        try:
            return os.write(self._number, content)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._number)
            os.close(nowhere)
            return memoryview(content).nbytes


def _outliving(stream: TextIO) -> TextIO:
    """Wrap a standard stream, if it is one."""
    try:
        number = stream.fileno()
        stream.flush()
    except (OSError, ValueError, AttributeError):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Outliving(number)), encoding=stream.encoding, errors=stream.errors,
        line_buffering=True,
    )  # fmt: skip


def _tell(text: str) -> None:
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
