# Raw images to one OME-Zarr store a plate.


localrules:
    convert_plate,


rule convert_plate:
    output:
        record=plan.path(layout.plate_record("{plate}")),
    log:
        plan.path(layout.log("convert", "{plate}.plate")),
    params:
        settings=settings("convert"),
        wells=lambda wildcards: plan.plate_digest(wildcards.plate),
        source=source_digest("convert"),
    conda:
        "../../envs/cpu.yaml"
    shell:
        "lysoquant convert . --plate {wildcards.plate:q} --plate-metadata"
        " --settings {params.settings:q} > {log:q} 2>&1"


rule convert:
    input:
        # Metadata of the plate must be there before the first pixel; that they change redoes no well.
        plate=ancient(plan.path(layout.plate_record("{plate}"))),
        raw=plan.path(layout.raw_record("{plate}", "{batch}")),
    output:
        record=record("convert"),
    log:
        log_file("convert"),
    params:
        wells=wells("convert"),
        settings=settings("convert"),
        source=source_digest("convert"),
    wildcard_constraints:
        batch=either(plan.batch_names("convert")),
    threads: 4
    resources:
        mem_mb=4000,
    conda:
        "../../envs/cpu.yaml"
    shell:
        "lysoquant convert . --plate {wildcards.plate:q} --wells {params.wells:q}"
        " --settings {params.settings:q} --record {output.record:q}"
        " --cores {threads} > {log:q} 2>&1"
