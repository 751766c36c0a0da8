"""Optuna studies over a configuration, which see inner validation patients only."""
