"""What every command shares: errors as messages with exit codes, Ctrl-C, and steps with their seconds."""

import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import NoReturn

import torch
import typer
from rich.console import Console
from rich.text import Text

FAILED, REFUSED, INTERRUPTED = 1, 2, 130  # exit codes: a claim or we failed, the input is at fault, Ctrl-C


class Stopped(BaseException):
    """Ctrl-C. Not a KeyboardInterrupt, which an optimizer may catch in order to keep what it has so far."""


class Run:
    """One command at work: its console, its steps with their seconds, and the notes that it gathers.

    Attributes:
        console: standard output.
        quiet: print nothing but errors.
        lively: whether progress is shown: on a terminal, unless quiet.
        timings: seconds of each finished step, in order.
        notes: what a user should know, a sentence each.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.console = Console(highlight=False)
        self.quiet = quiet
        self.lively = self.console.is_terminal and not quiet
        self.timings: dict[str, float] = {}
        self.notes: list[str] = []
        self.stopped = False

    @contextmanager
    def step(self, name: str, *, own_bar: bool = False) -> Iterator[None]:
        """Time the body, show that it runs, and turn its warnings into notes.

        Args:
            name: as a user reads it, such as "clustering".
            own_bar: the body shows its progress itself.
        """
        start = time.monotonic()
        spinner = self.console.status(f"{name} ...") if self.lively and not own_bar else nullcontext()
        with warnings.catch_warnings(record=True) as caught, spinner:
            warnings.filterwarnings("always", category=UserWarning)
            yield
        self.check()
        self.timings[name] = round(time.monotonic() - start, 3)
        for warning in caught:
            self.note(" ".join(str(warning.message).split()))
        if self.lively:
            self.console.print(f"[green]✓[/] {name} [dim]{self.timings[name]:.1f} s[/]")

    def note(self, text: str) -> None:
        """Keep a sentence for the user, once."""
        if text not in self.notes:
            self.notes.append(text)

    def print(self, *objects: object) -> None:
        """Print to standard output, unless quiet. Strings are taken as they are: data may look like markup."""
        if not self.quiet:
            self.console.print(*(Text(o) if isinstance(o, str) else o for o in objects), soft_wrap=True)

    def check(self) -> None:
        """Stop here if Ctrl-C came at a place that swallowed it."""
        if self.stopped:
            raise Stopped

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT: the first one unwinds, and the clean-up that follows is not interrupted by a second."""
        self.stopped = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise Stopped


@contextmanager
def reported(*, quiet: bool = False, debug: bool = False, threads: int = 1) -> Iterator[Run]:
    """Run a command's body: any error becomes one message on standard error, and an exit code.

    Args:
        quiet: see `Run`.
        debug: print the traceback of an error, too.
        threads: of torch, while the body runs. Its steps here are small: on two cores that others use as well, a second
            thread made the demo ten times slower. With one, results do not depend on a machine's number of cores.
    """
    run = Run(quiet=quiet)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    before = signal.getsignal(signal.SIGINT)
    # A handler can be set in the main thread only; one that ignores SIGINT (nohup) is respected.
    handles = threading.current_thread() is threading.main_thread() and before is not signal.SIG_IGN
    if handles:
        signal.signal(signal.SIGINT, run.stop)
    try:
        yield run
    except (typer.Exit, BrokenPipeError):
        raise
    except BaseException as error:
        if debug:
            traceback.print_exc()
        _leave(error, stopped=run.stopped)
    finally:
        torch.set_num_threads(threads_before)
        if handles:
            signal.signal(signal.SIGINT, before)


def _leave(error: BaseException, *, stopped: bool) -> NoReturn:
    if stopped or isinstance(error, KeyboardInterrupt):
        complain("Interrupted; no output is left unfinished.")
        raise typer.Exit(INTERRUPTED) from error
    if isinstance(error, MemoryError):
        complain("Error: out of memory. Give fewer rows or features, or use a machine with more memory.")
        raise typer.Exit(REFUSED) from error
    if isinstance(error, OSError) and error.strerror:
        complain(f"Error: {error.filename or 'the system'}: {error.strerror}. Check the place and its free space.")
        raise typer.Exit(REFUSED) from error
    if isinstance(error, ValueError):  # a DataError, or an estimator's refusal of what it was given
        complain(f"Error: {error}")
        raise typer.Exit(REFUSED) from error
    if isinstance(error, ModuleNotFoundError):  # of an extra: what every install has was imported by now
        complain(f"Error: {error.name} is not installed. Training needs: pip install 'torchicon[train]'.")
        raise typer.Exit(REFUSED) from error
    if isinstance(error, Exception):
        reason = " ".join(str(error).split()) or "no reason given"
        complain(
            f"Error: {type(error).__name__}: {reason}\n"
            "This was not foreseen. Run the command again with --debug to see where it happened."
        )
        raise typer.Exit(FAILED) from error
    raise error


def complain(text: str) -> None:
    """Print to standard error. What cannot be printed, such as a terminal's escapes in a file name, is spelled out."""
    shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    print(shown, file=sys.stderr)
