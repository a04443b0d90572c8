# From cells to wells, conditions and statistics.


rule aggregate:
    input:
        records=lambda wildcards: [plan.path(path) for path in plan.measure_records()],
        wells=plan.path(project.layout.project / project.config.wells),
    output:
        record=plan.path(layout.project_record("aggregate")),
    log:
        plan.path(layout.log("aggregate", "aggregate")),
    conda:
        "../../envs/cpu.yaml"
    threads: 8
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        settings=lambda wildcards: project.settings_json("aggregate"),
        source=source("aggregate"),
    shell:
        "lysoquant aggregate . --settings {params.settings:q}"
        " --record {output.record:q} --cores {threads} > {log:q} 2>&1"
