# So that plain `snakemake --directory PROJECT` works from the top of the repository.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
