"""What the subcommands of ``simclr`` do, one file each."""
