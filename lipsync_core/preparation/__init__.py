"""From clips to checked face crops and filelists."""
