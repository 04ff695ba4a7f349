"""Files, logs, progress, device and threads: what every part needs of the machine."""
