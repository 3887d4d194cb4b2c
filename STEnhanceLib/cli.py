"""The command `stenhance`: everything the library does, without Slicer. What each command does is in `commands/`."""

from __future__ import annotations

import argparse
import logging
import sys

import STEnhanceLib
from STEnhanceLib.commands import benchmark, compare, demo, enhance, info, methods, simulate, terminal, train
from STEnhanceLib.errors import STEnhanceError

logger = logging.getLogger(__name__)

DONE, USER_ERROR, FAULT, INTERRUPTED = 0, 1, 3, 130  # exit codes; argparse itself ends with 2 on wrong usage

COMMANDS = {  # in the order in which --help lists them
    "methods": methods,
    "info": info,
    "simulate": simulate,
    "enhance": enhance,
    "compare": compare,
    "benchmark": benchmark,
    "train": train,
    "demo": demo,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code. A user error is one sentence on stderr and never a traceback."""
    options = _parser().parse_args(arguments)
    terminal.start_logging(options.verbose)
    try:
        options.run(options)
    except STEnhanceError as error:
        terminal.complain(str(error))
        return USER_ERROR
    except MemoryError:
        terminal.complain("Out of memory. Close other programs, or work on fewer slices or frames at a time.")
        return USER_ERROR
    except OSError as error:
        terminal.complain(": ".join(str(part) for part in (error.strerror or error, error.filename) if part) + ".")
        return USER_ERROR
    except KeyboardInterrupt:
        terminal.complain("Interrupted.")
        return INTERRUPTED
    except Exception as error:
        logger.debug("Unexpected fault", exc_info=True)
        terminal.complain(f"Unexpected fault, please report it: {error!r}. Add --verbose for the traceback.")
        return FAULT
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stenhance", description=(STEnhanceLib.__doc__ or "").splitlines()[0])
    parser.add_argument("--version", action="version", version=f"stenhance {STEnhanceLib.__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what happens, with tracebacks")
    added = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command_parser = added.add_parser(name, help=command.HELP, description=command.HELP)
        command.add_options(command_parser)
        command_parser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
