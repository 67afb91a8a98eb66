"""The model on the device: its bundle and slots, its trial, its answers, and how far it may be asked."""
