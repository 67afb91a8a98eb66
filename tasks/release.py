"""Tasks around the signed metadata of releases."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from fieldloop.core.settings import load_settings
from fieldloop.stages.refreshed import refreshed


@task(name="refresh releases", cache_policy=NO_CACHE)
def refresh_releases() -> str:
    """Sign anew what is due; what a person should do, in words."""
    return refreshed(load_settings())
