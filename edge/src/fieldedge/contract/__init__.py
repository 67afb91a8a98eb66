"""What the cloud and the device agree on: tables, features, outputs, and the forms in which records travel."""

from fieldedge.contract.contract import Column, Contract, Feature, Kind, Output, Record, Table, Upgrade

__all__ = ["Column", "Contract", "Feature", "Kind", "Output", "Record", "Table", "Upgrade"]
