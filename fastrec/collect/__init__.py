"""Collect labelled images and judge them: sources, the manifest, quality and labelling by hand."""
