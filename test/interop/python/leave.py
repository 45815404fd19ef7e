"""Ends a program that has read a table.

Arrow's threads may still be closing files, which are Python objects. One that asks for the interpreter while that shuts
down aborts the process ("terminate called without an active exception"), after all output was printed.
"""

import os
import sys


def leave():
    """Ends the process with status 0 without shutting the interpreter down."""
    sys.stdout.flush()
    os._exit(0)
