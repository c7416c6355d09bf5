"""`python -m medgan_qa.cli`."""

from medgan_qa.cli import main

main()
