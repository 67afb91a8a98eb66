"""Lines from a pipe: none is read before the last one is durable, none waits for the next."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fieldedge.acquisition.formats import FORMATS
from fieldedge.acquisition.sources.stdin import StdinSource

HEADER = b'"TOA5","Station","CR1000"\n"TIMESTAMP","RECORD"\n"TS","RN"\n"",""\n'


@dataclass
class Pipe:
    """The writer's end, and the source at the other."""

    source: StdinSource
    writer: int

    def write(self, data: bytes) -> None:
        os.write(self.writer, data)

    def end(self) -> None:
        os.close(self.writer)
        self.writer = -1

    def take(self) -> list[bytes]:
        """Everything that is there; all of it becomes durable."""
        taken = []
        while deliveries := self.source.poll(1_000_000):
            for delivery in deliveries:
                taken.append(delivery.payload)
                delivery.done()
        return taken


@pytest.fixture(params=["jsonlines"])
def pipe(request: pytest.FixtureRequest) -> Iterator[Pipe]:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    pipe = Pipe(StdinSource("console", FORMATS[request.param], reader), writer)
    yield pipe
    os.close(reader)
    if pipe.writer >= 0:
        os.close(pipe.writer)


def test_an_empty_pipe_is_not_waited_for(pipe: Pipe) -> None:
    assert pipe.source.poll(1000) == []
    assert not pipe.source.is_ended


def test_whole_lines_are_handed_over_and_the_rest_waits(pipe: Pipe) -> None:
    pipe.write(b"1\n2\n3")
    (delivery,) = pipe.source.poll(1000)
    assert (delivery.payload, delivery.where, delivery.origin, delivery.first_line) == (
        b"1\n2\n",
        "console",
        "console",
        1,
    )
    delivery.done()
    pipe.write(b"3\n")
    (delivery,) = pipe.source.poll(1000)
    assert (delivery.payload, delivery.first_line) == (b"33\n", 3)


def test_what_is_not_done_comes_again_and_nothing_more_is_read(pipe: Pipe) -> None:
    pipe.write(b"1\n")
    (first,) = pipe.source.poll(1000)
    pipe.write(b"2\n")
    assert pipe.source.poll(1000) == [first]
    first.done()
    assert pipe.take() == [b"2\n"]
    first.done()  # said twice, it changes nothing


def test_a_full_pipe_holds_the_writer_back(pipe: Pipe) -> None:
    pipe.write(b"1\n")
    pipe.source.poll(1000)
    written = 0
    with pytest.raises(BlockingIOError):
        while True:
            written += os.write(pipe.writer, b"x" * 1023 + b"\n")
            pipe.source.poll(1000)
    assert written <= 1_048_576
    pipe.source.poll(1000)[0].done()
    assert sum(len(payload) for payload in pipe.take()) == written


def test_the_end_gives_the_last_line_and_ends_the_source(pipe: Pipe) -> None:
    pipe.write(b"1\n2")
    pipe.end()
    assert b"".join(pipe.take()) == b"1\n2"
    assert pipe.source.is_ended
    assert pipe.source.poll(1000) == []


def test_a_line_without_end_is_a_fault_and_passed_over(pipe: Pipe) -> None:
    seen: list[tuple[bytes, str | None, int]] = []

    def take() -> None:
        for delivery in pipe.source.poll(1000):
            seen.append((delivery.payload[:3], delivery.fault, delivery.first_line))
            delivery.done()

    pipe.write(b"1\n")
    take()
    for _ in range(60):
        pipe.write(b"x" * 10_000)
        take()
        assert len(pipe.source._buffer) <= 100_000
    pipe.write(b"\n2\n")
    for _ in range(3):
        take()
    fault = "the line is longer than 100000 bytes; its beginning is kept"
    assert seen == [(b"1\n", None, 1), (b"xxx", fault, 2), (b"2\n", None, 3)]


@pytest.mark.parametrize("pipe", ["toa5"], indirect=True)
def test_every_later_line_of_a_csv_carries_the_header(pipe: Pipe) -> None:
    pipe.write(HEADER[:40])
    assert pipe.take() == []
    pipe.write(HEADER[40:] + b"1\n")
    assert pipe.take() == [HEADER + b"1\n"]
    pipe.write(b"2\n")
    (delivery,) = pipe.source.poll(1000)
    assert (delivery.payload, delivery.first_line) == (HEADER + b"2\n", 2)


def test_a_file_can_stand_in_for_the_pipe(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"1\n2\n")
    descriptor = os.open(tmp_path / "lines", os.O_RDONLY)
    source = StdinSource("console", FORMATS["jsonlines"], descriptor)
    source.poll(1000)[0].done()
    assert source.poll(1000) == []
    assert source.is_ended
    os.close(descriptor)
