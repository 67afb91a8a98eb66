"""What the report says of maize fields. `sections.py` is what the page, the terminal and the artifacts ask."""
