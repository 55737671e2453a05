"""Open slides: formats, pyramid levels, pixel size."""
