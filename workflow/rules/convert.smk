# Raw images to one OME-Zarr store a plate.


localrules:
    convert_plate,


rule convert_plate:
    output:
        record=plan.path(layout.plate_record("{plate}")),
    log:
        plan.path(layout.log("convert", "{plate}.plate")),
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=settings("convert"),
        wells=lambda wildcards: plan.plate_digest(wildcards.plate),
        source=source("convert"),
    shell:
        "lysoquant convert . --plate {wildcards.plate:q} --plate-metadata"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule convert:
    input:
        # Not ancient(): with it, Snakemake 9.27 plans convert_plate alone and leaves every batch after it undone.
        plate=plan.path(layout.plate_record("{plate}")),
        raw=plan.path(layout.raw_record("{plate}", "{batch}")),
    output:
        record=record("convert"),
    log:
        log_file("convert"),
    wildcard_constraints:
        batch=batches("convert"),
    conda:
        "../../envs/cpu.yaml"
    threads: threads_of("convert")
    resources:
        mem_mb=memory("convert"),
        runtime=run_time("convert"),
    params:
        wells=wells("convert"),
        settings=settings("convert"),
        source=source("convert"),
    shell:
        "lysoquant convert . --plate {wildcards.plate:q} --wells {params.wells:q}"
        " --settings {params.settings:q} --record {output.record:q}"
        " --cores {threads} > {log:q} 2>&1"
