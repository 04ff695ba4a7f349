"""Splits by speaker (of one speaker: by clip or time), and the table of all clips.

REQUIRED INPUTS: the tables of all stages and shards, results/checks/<shard>.csv the last.
OUTPUTS: results/filelists/{train,val,test}.txt; clips.csv, accounting.csv, split.json and
weights.json (sampling weights of the corpora) beside them.
"""


rule filelists:
    """Lists of training, validation and test clips; every clip found is a row of clips.csv."""
    input:
        prepared_tables,
        speaker_encoder=speaker_encoder(),
    output:
        train="<results>/filelists/train.txt",
        val="<results>/filelists/val.txt",
        test="<results>/filelists/test.txt",
        clips="<results>/filelists/clips.csv",
        accounting="<results>/filelists/accounting.csv",
        split="<results>/filelists/split.json",
        weights="<results>/filelists/weights.json",
    log:
        "<logs>/filelists.log",
    benchmark:
        "<benchmarks>/filelists.tsv"
    params:
        split=CONFIG.split.model_dump(exclude={"partial_lists"}),
        official=INDEX.splits,
        labels=INDEX.labels,
        weights=collection.sampling_weights(CORPORA),
        seed=CONFIG.seed,
    script:
        "../workflow/scripts/filelists.py"
