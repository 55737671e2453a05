"""Study: the paper's comparison of input modes and fusions on phantom slides, at equal budget, over seeds."""
