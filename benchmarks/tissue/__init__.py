"""The model of real tissue: description of its data set, and the figure of the docs."""
