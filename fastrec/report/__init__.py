"""Pages for readers: executed notebooks, a run's index and runs side by side, as self-contained HTML."""
