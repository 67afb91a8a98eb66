"""DVC as this project uses it: its stages are run, its locks respected. Versions of the data are made by `data`."""
