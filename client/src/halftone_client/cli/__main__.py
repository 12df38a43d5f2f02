"""`python -m halftone_client.cli` is the command, too."""

from halftone_client.cli import main

main()
