"""Files, tables, logs, progress, devices and threads: used by every other package."""
