"""Model cards: data, licences, weights and figures of each trained network.

REQUIRED INPUTS: results/<network>/checkpoint.pth, results/evaluation.json.
OUTPUTS: results/<network>/model_card.{json,md}.
"""


rule model_card:
    """What a checkpoint was trained on and from, and under which licences."""
    input:
        "<results>/filelists/clips.csv",
        "<results>/evaluation.json",
        card_syncnet,
        checkpoint="<results>/{network}/checkpoint.pth",
    output:
        "<results>/{network}/model_card.json",
        "<results>/{network}/model_card.md",
    log:
        "<logs>/model_card/{network}.log",
    resources:
        mem_mb=500,
        runtime=10,
    params:
        config=card_config,
        weights=card_weights,
        syncnet=lambda wildcards: next(iter(card_syncnet(wildcards)), None),
        seed=CONFIG.seed,
        faces=face_settings,
    script:
        "../workflow/scripts/model_card.py"
