"""Pictures, widgets and exercise checks for the notebooks and reports; training needs none of it."""
