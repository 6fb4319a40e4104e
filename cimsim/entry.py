"""Where the command ``cimsim`` begins: signals first, then everything that takes time to import.

Ctrl-C ends with code 130, SIGTERM with 143, SIGHUP (the terminal is closed) with 129, each with one
line and without a traceback, whatever the program is at. A reader that goes away
(``cimsim run | head -1``) is no reason to lose a run: it goes on without a screen and ends with
code 0. So it does where a full disk takes no more of its output, but then says so and ends with
code 2. Letters that a terminal does not have are written in those that it has.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import signal
import sys
import types
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
_TOLD = {130: "interrupted", 143: "terminated", 129: "hung up"}
_NUMBERS = {code: number for number, code in _CODES.items()}
_PLAIN = {"µ": "u", "²": "2", "×": "x"}  # as quantities may be written, too
# what numba refuses with a traceback, and other libraries silently
_THREADS = {
    "NUMBA_NUM_THREADS": (r"\s*\+?0*[1-9][0-9]{0,5}\s*", "a whole number of at least 1"),
    "OMP_NUM_THREADS": (r"\s*[0-9]+\s*(,\s*[0-9]+\s*)*", "a whole number"),
}
_AGAIN_S = 0.05


class _State:
    """Which signal came, if any, and in which process."""

    code = 0
    pid = 0
    unwritten = ""  # why standard output did not take everything


class Terminated(SystemExit):
    """SIGTERM or SIGHUP, as an exception, so that temporary files are removed on the way out."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(_CODES[number])


def main() -> None:
    """Run the command line and end the process with its code."""
    code: str | int | None = 0
    told = True
    # two of them: a signal may come while the inner one is about to leave
    try:
        try:
            install()
            _check_environment()
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
        _tell(f"{_TOLD[_State.code]}; no result was written")
    # CPython remembers an interrupt inside a text that was executed (dataclasses do that) and dies
    # of SIGINT after its exit, though somebody caught it; the next text that is executed clears it
    exec("pass")
    _flush()
    if _State.unwritten and not _State.code:
        _tell(f"error: standard output did not take everything: {_State.unwritten}")
        code = code or 2
    # also where a command went on to keep what it had
    sys.exit(_State.code or code)


def install() -> None:
    """Take over the signals, and the two standard streams."""
    _State.pid = os.getpid()
    for number in _CODES:
        # nohup has it ignored, and a run is to outlive its terminal then
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)
    codecs.register_error("cimsim", _spelt)
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
    if kind != signal.SIGINT:
        raise Terminated(kind)
    raise KeyboardInterrupt


def _again(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise an interrupt anew that came inside a callback, where Python only prints it."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt | Terminated):
        number = _NUMBERS.get(_State.code, signal.SIGINT)
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


def _check_environment() -> None:
    """Refuse numbers of threads that libraries fail at when they are imported."""
    for name, (form, expected) in _THREADS.items():
        given = os.environ.get(name, "")
        if given and not re.fullmatch(form, given):
            _tell(f"error: {name}: expected {expected}, got '{given[:40]}'; mend or unset it")
            raise SystemExit(2)


class _Outliving(io.RawIOBase):
    """A file descriptor that swallows what is written once nothing takes it any more."""

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
        except BlockingIOError:
            raise
        except OSError as error:
            if self._number == 1 and not isinstance(error, BrokenPipeError):
                _State.unwritten = error.strerror or str(error)
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
        io.BufferedWriter(_Outliving(number)), encoding=stream.encoding, errors="cimsim",
        line_buffering=True,
    )  # fmt: skip


def _spelt(error: UnicodeError) -> tuple[str, int]:
    """Write letters that an encoding does not have in plain ones, or as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    escaped = (
        _PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode("ascii") for c in letters
    )
    return "".join(escaped), error.end


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()


def _tell(text: str) -> None:
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
