"""A project's results in the forms in which other programs take them: ImageJ, AnnData, profiles, RO-Crate, napari."""
