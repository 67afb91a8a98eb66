"""What every room stands on: settings, paths, the console, the environment, which code runs. It knows no workload."""
