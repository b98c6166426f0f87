"""Questions in people's words: what they ask the Registry, and what is refused before it is asked."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from harvester.ask import Question
from harvester.config import credentials
from harvester.demo import CollectionSpec, DemoRegistry, PutNull, build, records
from harvester.errors import ConfigError, NotFoundError
from harvester.registry import RESOURCES, Filter, RegistryClient
from tests.ask.conftest import Asking
from tests.support import settings_for


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ask") / "registry.sqlite"
    build(path, CollectionSpec(seed=3, objects=40, files_per_object=2.0))
    return path


@pytest.mark.parametrize(
    ("name", "arguments", "filters", "identifier"),
    [
        ("files", ["object=17"], (("intellectual_object_id", "17"),), ""),
        ("files", ["object=a.edu/17"], (), "a.edu/17"),
        ("files", ["state=A", "object_identifier=a.edu/b=c"], (("state", "A"),), "a.edu/b=c"),
        ("files", ["object_identifier=17"], (), "17"),
        ("checksums", ["intellectual_object_identifier=a.edu/b"], (), "a.edu/b"),
        ("events", ["object=a.edu/b"], (), "a.edu/b"),
        ("items", ["object=12"], (("intellectual_object_id", "12"),), ""),
        # Where the Registry has such a filter itself, it needs no help.
        ("events", ["intellectual_object_identifier=a/b"], (("intellectual_object_identifier", "a/b"),), ""),
        ("items", ["object_identifier=12"], (("object_identifier", "12"),), ""),
    ],
)
def test_an_object_by_whatever_it_is_known(
    name: str, arguments: list[str], filters: tuple[Filter, ...], identifier: str
) -> None:
    assert Question.parse(RESOURCES[name], arguments) == Question(RESOURCES[name], filters, identifier)


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("files", ["object="], "no intellectual object"),
        ("files", ["object=a/b", "object=a/c"], "more than one"),
        ("files", ["object=a/b", "object=a/b"], "more than one"),
        ("files", ["object=a/b", "intellectual_object_id=3"], "more than one"),
        ("files", ["object=3", "object_identifier=a/b"], "more than one"),
        ("files", ["object=3", "object=4"], "given twice"),
        ("files", ["object"], "name=value"),
        ("objects", ["object=a/b"], "what belongs to an object"),
        ("objects", ["object=1"], "what belongs to an object"),
        ("alerts", ["object=3"], "no filter of this name"),
        ("files", ["bogus=3"], "no filter of this name"),
    ],
)
def test_what_cannot_be_meant(name: str, arguments: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Question.parse(RESOURCES[name], arguments)


@pytest.mark.parametrize(
    ("name", "argument", "mend"),
    [
        ("events", "outcome=success", "did you mean 'Success'?"),
        ("events", "event_type=fixity_check", "did you mean 'fixity check'?"),
        ("objects", "state=a", "did you mean 'A'?"),
        ("items", "action__in=Ingestion", "did you mean 'Ingest'?"),
        ("objects", "access=xyzzy", "known are consortia, institution, restricted"),
        ("alerts", "type=Stalled", "did you mean 'Stalled Work Items'?"),
    ],
)
async def test_a_value_that_no_row_has_is_refused_for_one_request(
    asking: Asking, database: Path, name: str, argument: str, mend: str
) -> None:
    async with asking(database) as (registry, client):
        with pytest.raises(ConfigError, match=f"no {name} of the Registry's have") as refused:
            await Question.parse(RESOURCES[name], [argument]).resolved(client)
        assert (refused.value.mend, registry.stats.requests) == (mend, 1)


async def test_a_value_that_is_known_costs_no_request(asking: Asking, database: Path) -> None:
    async with asking(database) as (registry, client):
        for name, argument in (("events", "outcome=Success"), ("objects", "identifier=success")):
            assert await Question.parse(RESOURCES[name], [argument]).resolved(client)
        assert registry.stats.requests == 0


@pytest.mark.parametrize("null", [False, True], ids=["counted", "uncountable"])
async def test_a_value_that_only_the_registry_knows_is_taken(
    asking: Asking, database: Path, tmp_path: Path, null: bool
) -> None:
    """A storage option that came after this was written; also where the Registry fails to count the list."""
    copy = Path(shutil.copy(database, tmp_path / "registry.sqlite"))
    one, other = [row["id"] for row in records(database, "objects")][:2]
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE objects SET storage_option = 'Tape-OH' WHERE id = ?", (one,))
    async with asking(copy) as (registry, client):
        if null:
            await registry.changes.apply(PutNull("objects", "state", other))
        question = Question.parse(RESOURCES["objects"], ["storage_option=Tape-OH", "state=D"])
        assert await question.resolved(client) == (("storage_option", "Tape-OH"), ("state", "D"))


@pytest.mark.parametrize(
    ("name", "argument", "said"),
    [
        ("events", "object=99999", "id 99999: there is no such intellectual object"),
        ("files", "intellectual_object_id=99999", "id 99999: there is no such intellectual object"),
        ("items", "object=99999", "id 99999: there is no such intellectual object"),
        ("events", "intellectual_object_identifier=a/b", "a/b: there is no such intellectual object"),
        ("items", "object_identifier=12", "12: there is no such intellectual object"),
        ("checksums", "generic_file_id=99999", "id 99999: there is no such file"),
        ("events", "generic_file_identifier=a/b/c", "a/b/c: there is no such file"),
    ],
)
async def test_nothing_is_explained_by_a_parent_that_is_not_there(
    asking: Asking, database: Path, name: str, argument: str, said: str
) -> None:
    async with asking(database) as (registry, client):
        question = Question.parse(RESOURCES[name], [argument])
        with pytest.raises(NotFoundError, match=re.escape(said)):
            await question.explain_nothing(client)
        assert registry.stats.requests == 1


async def test_nothing_needs_no_explanation_where_the_parent_is_there(asking: Asking, database: Path) -> None:
    file = next(iter(records(database, "files")))
    async with asking(database) as (_, client):
        for argument in ("object=1", f"generic_file_id={file['id']}", "outcome=Failure"):
            await Question.parse(RESOURCES["events"], [argument]).explain_nothing(client)
        identifier = f"generic_file_identifier={file['identifier']}"
        await Question.parse(RESOURCES["events"], [identifier]).explain_nothing(client)


async def test_every_identifier_is_resolved_for_one_request(database: Path) -> None:
    async with DemoRegistry(database) as registry:
        settings = settings_for(registry, database.parent)
        async with RegistryClient(settings, credentials(settings)) as client:
            for row in records(database, "objects"):
                registry.stats.reset()
                question = Question.parse(RESOURCES["files"], ["state=A", f"object_identifier={row['identifier']}"])
                found = await question.resolved(client)
                assert found == (("state", "A"), ("intellectual_object_id", str(row["id"])))
                assert registry.stats.requests == 1
            registry.stats.reset()
            await Question.parse(RESOURCES["files"], ["object=17"]).resolved(client)
            assert registry.stats.requests == 0
            with pytest.raises(NotFoundError, match="no such intellectual object"):
                await Question.parse(RESOURCES["files"], ["object=a.edu/none"]).resolved(client)


@pytest.mark.parametrize(
    ("argument", "mend"),
    [("sort=size__desc", "write --sort size__desc"), ("per_page=20", "write --limit 20"), ("page=2", "all pages")],
)
def test_what_apt_cmd_takes_among_the_filters_is_an_option_here(argument: str, mend: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Question.parse(RESOURCES["files"], ["state=A", argument])
    assert refused.value.mend.startswith(mend)
