"""How readings come in: from a source through its logger's format, mapping and quality control."""
