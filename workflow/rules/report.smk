# One self-contained HTML page.


rule report:
    input:
        record=rules.aggregate.output.record,
    output:
        record=plan.path(layout.project_record("report")),
    log:
        plan.path(layout.log("report", "report")),
    conda:
        "../../envs/cpu.yaml"
    threads: 8
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        # A function: a string with braces, such as a template of file names, would be taken for wildcards.
        settings=lambda wildcards: project.settings_json("report"),
        source=source("report"),
    shell:
        "lysoquant report . --settings {params.settings:q}"
        " --record {output.record:q} --cores {threads} > {log:q} 2>&1"
