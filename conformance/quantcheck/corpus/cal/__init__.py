"""Section CAL: calibration windows, whole models, and the exact arithmetic of small models."""
