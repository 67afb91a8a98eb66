"""The closed-loop benchmark: seasons lived day by day under one decider after another. Run by ../decisions.py.

sites.py says where and at which prices, harness.py lives the seasons, table.py compares them. The rivals are in
package_practices.py, thresholds.py, foresight.py and nitrogen_doses.py; the row Fieldloop is in fieldloop.py.
"""
