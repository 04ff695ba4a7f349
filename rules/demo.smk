"""The embedded demo corpus: synthetic talking faces, speech by eSpeak NG.

OUTPUTS: data_root/main/<speaker>/<clip>.mp4, data_root/{train,val,test}.txt, data_root/demo.json.
"""


rule demo_corpus:
    """Make the demo's videos; runs only while data_root holds no other video."""
    output:
        f"{DATA_ROOT}/demo.json",
    log:
        "<logs>/demo_corpus.log",
    benchmark:
        "<benchmarks>/demo_corpus.tsv"
    threads: 8
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        version=plan.VERSION,
        ffmpeg=FFMPEG,
    script:
        "../workflow/scripts/demo_corpus.py"
