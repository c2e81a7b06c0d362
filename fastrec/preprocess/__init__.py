"""Split without leaks, decode once into a cache, and augment by the batch."""
