"""The notebooks in order: check the parameters, skip what is unchanged, continue what was killed."""
