"""What devices sent and companies import: opened, judged, accepted exactly once, and accounted for record by record."""
