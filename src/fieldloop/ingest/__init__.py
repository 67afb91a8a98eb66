"""What devices sent: opened, judged, accepted exactly once, and accounted for record by record."""
