"""Probes, floors, metrics with intervals over patients, protocols."""
