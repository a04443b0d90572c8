"""What could spoil a run, looked at before it begins: the environment, the project, the cluster."""
