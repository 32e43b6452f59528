"""`python -m raymark`: the command where no script is on the path."""

from raymark.cli import main

main()
