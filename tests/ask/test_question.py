"""Questions in people's words: what they ask the Registry, and what is refused before it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.ask import Question
from harvester.config import credentials
from harvester.demo import CollectionSpec, DemoRegistry, build, records
from harvester.errors import ConfigError, NotFoundError
from harvester.registry import RESOURCES, Filter, RegistryClient
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
        ("objects", ["object=a/b"], "no filter of this name"),
        ("alerts", ["object=3"], "no filter of this name"),
        ("files", ["bogus=3"], "no filter of this name"),
    ],
)
def test_what_cannot_be_meant(name: str, arguments: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Question.parse(RESOURCES[name], arguments)


@pytest.mark.parametrize(
    ("name", "argument", "doubt"),
    [
        ("events", "outcome=success", "did you mean 'Success'?"),
        ("events", "event_type=fixity_check", "did you mean 'fixity check'?"),
        ("objects", "state=a", "did you mean 'A'?"),
        ("items", "action__in=Ingestion", "did you mean 'Ingest'?"),
        ("objects", "access=xyzzy", "known are consortia, institution, restricted"),
        ("alerts", "type=Stalled", "Stalled Work Items"),
        ("events", "outcome=Success", ""),
        ("objects", "identifier=success", ""),
    ],
)
def test_a_value_that_is_not_known_is_doubted(name: str, argument: str, doubt: str) -> None:
    doubts = Question.parse(RESOURCES[name], [argument]).doubts()
    assert [argument in line and doubt in line for line in doubts] == ([True] if doubt else [])


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
