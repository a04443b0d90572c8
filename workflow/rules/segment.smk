# Endolysosomes of every cell, empty or loaded, as label images.


rule segment:
    input:
        records=upstream("segment"),
    output:
        record=record("segment"),
    log:
        log_file("segment"),
    wildcard_constraints:
        batch=batches("segment"),
    conda:
        environment("segment")
    threads: threads_of("segment")
    resources:
        **gpu("segment"),
        mem_mb=memory("segment"),
        runtime=run_time("segment"),
    params:
        wells=wells("segment"),
        settings=settings("segment"),
        source=source("segment"),
        model=MODEL_SHA256["segment"],
    shell:
        "lysoquant segment . --plate {wildcards.plate:q} --wells {params.wells:q}"
        " --settings {params.settings:q} --record {output.record:q}"
        " --cores {threads} > {log:q} 2>&1"
