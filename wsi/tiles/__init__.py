"""Make tiles for viewers: of slides, of finished label maps and of growing ones."""
