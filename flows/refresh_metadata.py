"""Sign anew what expires soon, so that devices go on taking releases: for a schedule, several times a day."""

from prefect import flow

from fieldloop.core import process_setup
from fieldloop.core.console import say
from tasks.release import refresh_releases


@flow(name="refresh-metadata", validate_parameters=True)
def refresh_metadata() -> str:
    """Sign timestamp and snapshot anew where they have lived half their lifetime, and say what a person should do."""
    process_setup.settle()
    words = refresh_releases()
    say(words)
    return words
