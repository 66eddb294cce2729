"""The subcommands of ``simclr``, one file each: they check settings, call the library, write and print."""
