# Cells of every field, as label images.


rule cells:
    input:
        records=upstream("cells"),
    output:
        record=record("cells"),
    log:
        log_file("cells"),
    params:
        wells=wells("cells"),
        settings=settings("cells"),
        source=source_digest("cells"),
    wildcard_constraints:
        batch=either(plan.batch_names("cells")),
    threads: 4
    resources:
        mem_mb=4000,
    conda:
        "../../envs/cpu.yaml"
    shell:
        "lysoquant cells . --plate {wildcards.plate:q} --wells {params.wells:q}"
        " --settings {params.settings:q} --record {output.record:q}"
        " --cores {threads} > {log:q} 2>&1"
