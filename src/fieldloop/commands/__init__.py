"""The groups of the cloud's command line, one a module; `cli.py` puts them together."""
