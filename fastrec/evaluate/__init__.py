"""The chosen model on images it never saw: metrics with intervals, baselines, mistakes and calibration."""
