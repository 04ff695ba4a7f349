"""Public weights that the config asks for and that are not in the models folder yet.

OUTPUTS: models/<name>, checked by its SHA-256. A file that is there is never touched: the rule
knows the missing ones only.
"""


rule fetch_weights:
    """Download one public weight file; offline, the error names where to put it by hand."""
    output:
        "<models>/{weights}",
    log:
        "<logs>/fetch_weights/{weights}.log",
    resources:
        mem_mb=500,
        runtime=60,
    script:
        "../workflow/scripts/fetch_weights.py"
