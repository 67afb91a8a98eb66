"""What every room stands on: settings, params, paths, the console, how a process is set up, an HTTP server, which code
runs. It knows no workload."""
