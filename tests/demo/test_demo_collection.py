"""The made-up collection: the same everywhere, and as awkward as a real one."""

from __future__ import annotations

import hashlib
import itertools
import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from harvester.demo import OWN_INSTITUTION, CollectionSpec, build, records

from .conftest import SPEC

RESOURCES = ("objects", "files", "events", "items", "checksums", "deletions", "alerts")


def fingerprint(database: Path) -> str:
    digest = hashlib.sha256()
    for resource in RESOURCES:
        for record in records(database, resource):
            digest.update(json.dumps(record).encode())
    return digest.hexdigest()


def test_the_same_spec_gives_the_same_bytes_of_every_record(tmp_path: Path) -> None:
    spec = CollectionSpec(objects=25, files_per_object=5.0)
    build(tmp_path / "a.db", spec)
    assert fingerprint(tmp_path / "a.db") == "a567627ea1f8614fb23dc40808e118ccf6f7d7174eb3a1e7ee64ded6ce60478f"


def test_the_mean_number_of_files_is_as_asked_and_the_tail_heavy(tmp_path: Path) -> None:
    build(tmp_path / "a.db", CollectionSpec(objects=1500, files_per_object=10.0, events_per_file=1, nasty=False))
    sizes = Counter(record["intellectual_object_id"] for record in records(tmp_path / "a.db", "files"))
    assert sum(sizes.values()) / 1500 == pytest.approx(10.0, rel=0.15)
    assert max(sizes.values()) > 200


def test_another_seed_gives_another_collection(tmp_path: Path) -> None:
    build(tmp_path / "a.db", CollectionSpec(seed=1, objects=5))
    build(tmp_path / "b.db", CollectionSpec(seed=2, objects=5))
    assert fingerprint(tmp_path / "a.db") != fingerprint(tmp_path / "b.db")


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    with pytest.raises(FileExistsError):
        build(tmp_path / "a.db", SPEC)


@pytest.mark.parametrize("resource", RESOURCES)
def test_records_come_by_id_with_gaps_and_nothing_null(collection: Path, resource: str) -> None:
    found = list(records(collection, resource))
    ids = [record["id"] for record in found]
    assert ids == sorted(set(ids))
    assert ids[-1] - ids[0] >= len(ids)
    assert all(value is not None for record in found for value in record.values())
    assert {record["institution_id"] for record in found} == {OWN_INSTITUTION}
    assert list(records(collection, resource, OWN_INSTITUTION + 1))


@pytest.mark.parametrize("resource", RESOURCES)
def test_keys_are_those_of_the_real_answers(collection: Path, resource: str) -> None:
    assert " ".join(next(records(collection, resource))) == KEYS[resource]


def test_the_spec_says_how_many_of_each(collection: Path) -> None:
    assert len(list(records(collection, "objects"))) == SPEC.objects
    assert len(list(records(collection, "items"))) == SPEC.work_items
    assert len(list(records(collection, "deletions"))) == SPEC.deletions
    assert len(list(records(collection, "alerts"))) == SPEC.alerts
    files = list(records(collection, "files"))
    assert len([e for e in records(collection, "events") if e["generic_file_id"]]) == len(files) * SPEC.events_per_file


def test_one_object_in_the_middle_is_the_largest_and_came_in_one_instant(collection: Path) -> None:
    files = list(records(collection, "files"))
    (largest, size), (_, second) = Counter(file["intellectual_object_id"] for file in files).most_common(2)
    assert (size, second < size) == (SPEC.largest_object, True)
    assert [record["id"] for record in records(collection, "objects")].index(largest) == SPEC.objects // 2
    assert len({file["created_at"] for file in files if file["intellectual_object_id"] == largest}) == 1


def test_counters_of_an_object_are_those_of_its_active_files(collection: Path) -> None:
    files, sizes = Counter[int](), Counter[int]()
    for file in records(collection, "files"):
        if file["state"] == "A":
            files[file["intellectual_object_id"]] += 1
            sizes[file["intellectual_object_id"]] += file["size"]
    found = list(records(collection, "objects"))
    assert all((o["file_count"], o["size"]) == (files[o["id"]], sizes[o["id"]]) for o in found)
    assert any(o["file_count"] == 0 for o in found)
    assert any(0 < o["payload_file_count"] < o["file_count"] for o in found)


def test_times_have_none_to_six_digits_and_odd_years(collection: Path) -> None:
    times = [event["date_time"] for event in records(collection, "events")]
    assert {len(time) for time in times} == {20, 22, 23, 24, 25, 26, 27}
    assert not any("." in time and time.endswith("0Z") for time in times)
    assert {"0001", "2000", "2087"} <= {time[:4] for time in times}


def test_objects_were_all_created_before_2026(collection: Path) -> None:
    assert max(record["created_at"] for record in records(collection, "objects")) < "2026"


def test_ids_of_an_object_s_files_are_not_one_block(collection: Path) -> None:
    owners = [record["intellectual_object_id"] for record in records(collection, "files")]
    assert sum(a != b for a, b in itertools.pairwise(owners)) > len(set(owners))


def test_nasty_texts_are_there_unless_declined(collection: Path, tmp_path: Path) -> None:
    build(tmp_path / "plain.db", CollectionSpec(objects=90, nasty=False))
    plain = "".join(json.dumps(record) for record in records(tmp_path / "plain.db", "files"))
    nasty = "".join(record["identifier"] for record in records(collection, "files"))
    texts = "".join(record["detail"] + record["object"] for record in records(collection, "events"))
    for wanted in ("\x1b", "\n", "\u2028", "%2F", "?", "<script>", "=HYPERLINK", "🗄️"):
        assert wanted in nasty
        assert wanted not in plain
    assert "x" * 5000 in texts
    assert any(record["identifier"].isdigit() for record in records(collection, "objects"))


@pytest.mark.parametrize("table", ["objects", "files", "events", "items", "checksums", "alerts", "deletions"])
def test_every_nullable_column_has_a_null(collection: Path, table: str) -> None:
    never = {"state", "event_type", "outcome", "action", "id", "type", "subject", "content", "requested_by_id"}
    never |= {"requested_at", "file_count", "object_count", "digest", "name", "etag", "bucket", "user", "note"}
    never |= {"stage", "status", "date_processed", "needs_admin_review"}
    with closing(sqlite3.connect(collection)) as db:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if not row[3] and row[1] not in never]
        without = [c for c in columns if not db.execute(f"SELECT 1 FROM {table} WHERE {c} IS NULL LIMIT 1").fetchone()]
    assert without == []


KEYS = {
    "objects": "id title description identifier alt_identifier access bag_name institution_id created_at updated_at"
    " state etag bag_group_identifier storage_option bagit_profile_identifier source_organization"
    " internal_sender_identifier internal_sender_description institution_name institution_identifier institution_type"
    " institution_parent_id file_count size payload_file_count payload_size",
    "files": "id file_format size identifier intellectual_object_id object_identifier access state last_fixity_check"
    " institution_id institution_name institution_identifier storage_option uuid mtime md5 sha1 sha256 sha512"
    " created_at updated_at",
    "events": "id agent created_at date_time detail event_type generic_file_id generic_file_identifier identifier"
    " institution_id institution_name intellectual_object_id intellectual_object_identifier object old_uuid outcome"
    " outcome_detail outcome_information updated_at",
    "items": "id name etag institution_id institution_name institution_identifier intellectual_object_id"
    " object_identifier alt_identifier bag_group_identifier storage_option bagit_profile_identifier"
    " source_organization internal_sender_identifier generic_file_id generic_file_identifier bucket user note action"
    " stage status outcome bag_date date_processed retry node pid needs_admin_review queued_at size stage_started_at"
    " aptrust_approver inst_approver deletion_request_id created_at updated_at",
    "checksums": "id algorithm datetime digest state generic_file_identifier generic_file_id intellectual_object_id"
    " institution_id created_at updated_at",
    "deletions": "id institution_id institution_name institution_identifier requested_by_id requested_by_name"
    " requested_by_email requested_at confirmed_by_id confirmed_by_name confirmed_by_email confirmed_at"
    " cancelled_by_id cancelled_by_name cancelled_by_email cancelled_at file_count object_count",
    "alerts": "id institution_id institution_name institution_identifier type subject content deletion_request_id"
    " created_at user_id user_name user_email sent_at read_at",
}
