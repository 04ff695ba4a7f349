"""The report: one self-contained page.

OUTPUTS: results/report/index.html.
"""


rule report_page:
    """One HTML page: data, curves, samples, evaluation, dubbed videos."""
    input:
        "<results>/filelists/clips.csv",
        "<results>/evaluation.json",
        "<results>/syncnet/data_check.json",
        ["<results>/syncnet/comparison.json"] if PUBLIC_SYNCNET else [],
        collect("<results>/{dub}", dub=[entry["output"] for entry in DUBS]),
        metrics=["<results>/syncnet/metrics.csv"]
        + collect("<results>/{variant}/metrics.csv", variant=VARIANTS),
    output:
        report("<results>/report/index.html", category="Report"),
    log:
        "<logs>/report_page.log",
    benchmark:
        "<benchmarks>/report_page.tsv"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        dubs=DUBS,
        variants=VARIANTS,
        demo=DEMO,
        ffmpeg=FFMPEG,
    script:
        "../workflow/scripts/report_page.py"
