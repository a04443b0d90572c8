"""Where a stage's tasks run: this process, a pool of processes or threads, a Dask scheduler, or jobs on SLURM."""
