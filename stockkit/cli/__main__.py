"""`python -m stockkit.cli` is the `stockkit` command."""

from stockkit.cli import main

main()
