"""The lip-sync pipeline's own package: everything the rules call, nothing of Snakemake."""

__version__ = "0.1.0"
