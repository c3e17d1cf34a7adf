"""What surrounds a computation: devices, processes, signals, start-up, the command line."""
