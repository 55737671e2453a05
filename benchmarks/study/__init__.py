"""The paper's comparison on phantom slides: every input mode and fusion, at equal budget, over several seeds."""
