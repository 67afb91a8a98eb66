"""JSON that others wrote: whoever reads it loses nothing of it, or refuses it."""

import json
import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldedge.acquisition.raw import read_json
from fieldedge.contract.batches import open_batch
from fieldedge.device.config import DeviceConfig
from fieldedge.inference.bundles import parse_manifest
from fieldedge.runtime.agent import Agent
from fieldedge.storage.store import Store
from fieldedge.system import strict_json
from fieldedge.system.errors import DataError, ReleaseError
from fieldedge.system.http import json_value
from fieldedge.transfer.usb import read_acknowledgement
from tests.edge.sample import AGRICULTURE, DEVICE_ID

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_says_every_name_once_reads_as_ever(value: object) -> None:
    assert strict_json.loads(json.dumps(value)) == value


@pytest.mark.parametrize("text", ['{"a":1,"b":2,"a":1}', '[{"b":{"a":1,"\\u0061":2}}]'])
def test_a_name_that_is_said_twice_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="the name 'a' more than once"):
        strict_json.loads(text)


@pytest.mark.parametrize(
    "tables",
    ['"season":1,"season":2,"tables":{}', '"tables":{"a":{"columns":[],"rows":[]},"a":{}}', '"tables":{},"tables":{}'],
)
def test_a_batch_that_names_something_twice_is_refused_where_it_is_opened(tables: str) -> None:
    with pytest.raises(DataError, match=r"the batch is not readable JSON: .* more than once"):
        open_batch(lzma.compress(f'{{"format":1,{tables}}}'.encode()))


def test_a_message_a_payload_an_answer_and_an_acknowledgement_that_say_a_name_twice_are_refused(tmp_path: Path) -> None:
    agent = Agent(DeviceConfig(DEVICE_ID, "agriculture"), AGRICULTURE, Store(tmp_path / "store.db"), None)
    answer = agent.answer_line('{"kind":"field","kind":"harvest","record":{}}', "here")
    assert answer is not None and "the name 'kind' more than once" in answer["error"]
    with pytest.raises(ValueError, match="more than once"):
        read_json('{"rain":1,"rain":2}')
    assert json_value(b'{"acknowledged":"a","acknowledged":"b"}') is None
    with pytest.raises(ReleaseError, match="more than once"):
        read_acknowledgement(b'{"device_id":"dev-00","batches":["a"],"batches":[]}', "dev-00")


def test_a_bundle_whose_manifest_says_a_name_twice_is_refused() -> None:
    with pytest.raises(ReleaseError, match="more than once"):
        parse_manifest(b'{"format":1,"format":2}')
