"""How the device speaks to people: texts, facts and charts, for the page and the terminal alike."""
