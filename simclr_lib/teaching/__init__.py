"""Pictures, widgets and exercise checks for the notebooks and reports. Training needs none of them."""
