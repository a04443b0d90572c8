"""What is still to be done, before it is begun: jobs, core-hours, GPU-hours, wall time, bytes and files."""
