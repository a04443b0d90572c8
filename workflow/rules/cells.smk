# Cells of every field, as label images.


rule cells:
    input:
        records=upstream("cells"),
        flat_fields=lambda wildcards: [
            plan.path(path) for path in plan.flat_field_files("cells", wildcards.plate)
        ],
        outlines=lambda wildcards: [
            plan.path(path)
            for path in plan.outline_files(wildcards.plate, wildcards.batch)
        ],
    output:
        record=record("cells"),
    log:
        log_file("cells"),
    wildcard_constraints:
        batch=batches("cells"),
    conda:
        environment("cells")
    threads: threads_of("cells")
    resources:
        **gpu("cells"),
        mem_mb=memory("cells"),
        runtime=run_time("cells"),
    params:
        wells=wells("cells"),
        settings=settings("cells"),
        source=source("cells"),
        model=MODEL_SHA256.get("cells", ""),
    shell:
        "lysoquant cells . --plate {wildcards.plate:q} --wells {params.wells:q}"
        " --settings {params.settings:q} --record {output.record:q}"
        " --cores {threads} > {log:q} 2>&1"
