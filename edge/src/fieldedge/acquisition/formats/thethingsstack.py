"""The Things Stack v3's uplinks, over MQTT, from its storage, or exported from its console, under their own name.

They are read as `chirpstack.py` reads them, and so is whatever a gateway mixes with them.
"""

from fieldedge.acquisition.formats import chirpstack

FORMAT = chirpstack.FORMAT
