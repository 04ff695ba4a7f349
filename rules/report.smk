"""Metrics on the test split, and the report: one self-contained page.

OUTPUTS: results/evaluation.json, results/report/index.html.
"""


rule evaluate:
    """Metrics of SyncNet and the generators on the test split."""
    input:
        "<results>/filelists/clips.csv",
        syncnet="<results>/syncnet/checkpoint.pth",
        generators=collect("<results>/{variant}/checkpoint.pth", variant=VARIANTS),
    output:
        "<results>/evaluation.json",
    log:
        "<logs>/evaluate.log",
    benchmark:
        "<benchmarks>/evaluate.tsv"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=120,
        gpu=1,
    params:
        variants=VARIANTS,
        windows=CONFIG.evaluate.model_dump(),
        seed=CONFIG.seed,
    script:
        "../workflow/scripts/evaluate.py"


rule report_page:
    """One HTML page: data, curves, samples, evaluation, dubbed videos."""
    input:
        "<results>/filelists/clips.csv",
        "<results>/evaluation.json",
        "<results>/syncnet/data_check.json",
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
