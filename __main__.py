"""`python -m pliant` is the command line."""

from .app.cli import main

main()
