"""Architectures, loaders over the cache, and the fastai learner that trains them."""
