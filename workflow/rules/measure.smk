# Part tables of every well.


rule measure:
    input:
        records=upstream("measure"),
        flat_fields=lambda wildcards: [
            plan.path(path)
            for path in plan.flat_field_files("measure", wildcards.plate)
        ],
    output:
        record=record("measure"),
    log:
        log_file("measure"),
    wildcard_constraints:
        batch=batches("measure"),
    conda:
        "../../envs/cpu.yaml"
    threads: threads_of("measure")
    resources:
        mem_mb=memory("measure"),
        runtime=run_time("measure"),
    params:
        wells=wells("measure"),
        settings=settings("measure"),
        source=source("measure"),
    shell:
        "lysoquant measure . --plate {wildcards.plate:q} --wells {params.wells:q}"
        " --settings {params.settings:q} --record {output.record:q}"
        " --cores {threads} > {log:q} 2>&1"
