"""What the Registry can list, by which filters and in which order: the one place that knows.

Taken from the Registry's OpenAPI document (member API v3) and corrected by what the real server
accepts: it answers 500 to some documented filters and takes several undocumented ones.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType

from harvester.errors import ConfigError

Filter = tuple[str, str]
"""One `name=value` of a query."""

PER_PAGE_MAX = 1000
"""Rows a page; the server caps here, but after it has computed the offset: more than this loses rows."""


class Kind(Enum):
    """What the value of a filter must look like; anything else makes the Registry answer 500."""

    TEXT = "text"
    INTEGER = "a whole number"
    BOOLEAN = "true or false"
    TIME = "a date or time such as 2026-01-31 or 2026-01-31T12:00:00Z"


@dataclass(frozen=True, eq=False)
class Resource:
    """One list of the Registry. There are seven of them, each itself and nothing else.

    `path` is its segment in the URL, `file_stem` the name of its NDJSON file in a dump,
    `time_field` the column its time windows go by ("" where the list has none),
    `partition` a filter whose two values split the list exactly in two. Such a filter makes `count` exact and
    keeps clear of the Registry's cached counts, which fail outright when a row has a NULL in a counted column.
    `skipped_row_seconds` is what each row that an offset skips costs the server, as observed.
    `fields` are the keys of an entry, `sorts` the columns by which the list can be sorted.
    """

    path: str
    file_stem: str
    filters: Mapping[str, Kind]
    fields: tuple[str, ...]
    sorts: tuple[str, ...]
    time_field: str
    default_sort: str
    cached_by: frozenset[str] = field(default_factory=frozenset)
    partition: str = ""
    skipped_row_seconds: float = 0.0

    def count_is_exact(self, filters: Iterable[Filter]) -> bool:
        """Whether the Registry counts this query row by row instead of looking in its hourly table."""
        return not self.cached_by or any(name not in self.cached_by for name, _ in filters)


VALUES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "access": ("consortia", "institution", "restricted"),
        "action": ("Delete", "Glacier Restore", "Ingest", "Restore File", "Restore Object"),
        "algorithm": ("md5", "sha1", "sha256", "sha512"),
        "event_type": (
            "access assignment",
            "creation",
            "deletion",
            "fixity check",
            "identifier assignment",
            "ingestion",
            "message digest calculation",
            "replication",
        ),
        "outcome": ("Failure", "Success"),
        "stage": (
            "Available in S3",
            "Cleanup",
            "Copy To Staging",
            "Fetch",
            "Format Identification",
            "Package",
            "Receive",
            "Record",
            "Reingest Check",
            "Requested",
            "Resolve",
            "Restoring",
            "Storage Validation",
            "Store",
            "Unpack",
            "Validate",
        ),
        "state": ("A", "D"),
        "status": ("Cancelled", "Failed", "Pending", "Started", "Success", "Suspended"),
        "storage_option": (
            "Glacier-Deep-OH",
            "Glacier-Deep-OR",
            "Glacier-Deep-VA",
            "Glacier-OH",
            "Glacier-OR",
            "Glacier-VA",
            "Standard",
            "Wasabi-OR",
            "Wasabi-TX",
            "Wasabi-VA",
        ),
        "type": (
            "Deletion Cancelled",
            "Deletion Completed",
            "Deletion Confirmed",
            "Deletion Requested",
            "Failed Fixity Check",
            "Password Changed",
            "Password Reset",
            "Restoration Completed",
            "Stalled Work Items",
            "Welcome New User",
        ),
    }
)
"""What the OpenAPI document enumerates, by field. The Registry's database may hold other values too."""


def _kinds(**groups: str) -> Mapping[str, Kind]:
    kinds = {name: Kind[group.upper()] for group, names in groups.items() for name in names.split()}
    return MappingProxyType(dict(sorted(kinds.items())))


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


OBJECTS = Resource(
    path="objects",
    file_stem="objects",
    filters=_kinds(
        text="access alt_identifier alt_identifier__starts_with bag_group_identifier"
        " bag_group_identifier__starts_with bag_name bagit_profile_identifier etag identifier"
        " identifier__starts_with internal_sender_description internal_sender_identifier"
        " source_organization state storage_option",
        integer="file_count__gteq file_count__lteq institution_id institution_parent_id size__gteq size__lteq",
        time="created_at__gteq created_at__lteq updated_at__gteq updated_at__lteq",
    ),
    fields=_names(
        "id title description identifier alt_identifier access bag_name institution_id created_at"
        " updated_at state etag bag_group_identifier storage_option bagit_profile_identifier"
        " source_organization internal_sender_identifier internal_sender_description institution_name"
        " institution_identifier institution_type institution_parent_id file_count size"
        " payload_file_count payload_size"
    ),
    sorts=_names(
        "access alt_identifier bag_group_identifier bagit_profile_identifier created_at etag file_count"
        " id identifier internal_sender_identifier size state storage_option updated_at"
    ),
    time_field="created_at",
    default_sort="updated_at__desc",
    cached_by=frozenset({"institution_id", "state"}),
)

FILES = Resource(
    path="files",
    file_stem="files",
    filters=_kinds(
        text="identifier state storage_option storage_option__in uuid",
        integer="institution_id intellectual_object_id size__gteq size__lteq",
        time="created_at__gteq created_at__lteq last_fixity_check__gteq last_fixity_check__lteq"
        " updated_at__gteq updated_at__lteq",
    ),
    fields=_names(
        "id file_format size identifier intellectual_object_id object_identifier access state"
        " last_fixity_check institution_id institution_name institution_identifier storage_option uuid"
        " mtime md5 sha1 sha256 sha512 created_at updated_at"
    ),
    sorts=_names(
        "created_at id identifier intellectual_object_id last_fixity_check size state storage_option updated_at uuid"
    ),
    time_field="created_at",
    default_sort="updated_at__desc",
    cached_by=frozenset({"institution_id", "state"}),
    skipped_row_seconds=15e-6,  # the checksum sub-selects run for skipped rows too
)

EVENTS = Resource(
    path="events",
    file_stem="events",
    filters=_kinds(
        text="event_type generic_file_identifier identifier intellectual_object_identifier outcome",
        integer="generic_file_id institution_id intellectual_object_id",
        boolean="generic_file_id__is_null",
        time="date_time__gteq date_time__lteq",
    ),
    fields=_names(
        "id agent created_at date_time detail event_type generic_file_id generic_file_identifier"
        " identifier institution_id institution_name intellectual_object_id"
        " intellectual_object_identifier object old_uuid outcome outcome_detail outcome_information"
        " updated_at"
    ),
    sorts=_names(
        "date_time event_type generic_file_id generic_file_identifier id identifier"
        " intellectual_object_id intellectual_object_identifier outcome"
    ),
    time_field="date_time",
    default_sort="date_time__desc",
    cached_by=frozenset({"event_type", "institution_id", "outcome"}),
    partition="generic_file_id__is_null",
    skipped_row_seconds=2e-6,
)

WORK_ITEMS = Resource(
    path="items",
    file_stem="work_items",
    filters=_kinds(
        text="action action__in alt_identifier bag_group_identifier bagit_profile_identifier bucket etag"
        " generic_file_identifier name object_identifier stage stage__in status status__in storage_option user",
        integer="generic_file_id institution_id intellectual_object_id size__gteq size__lteq",
        boolean="generic_file_id__is_null intellectual_object_id__is_null needs_admin_review node__is_null"
        " node__not_null queued_at__is_null queued_at__not_null retry",
        time="bag_date__gteq bag_date__lteq date_processed__gteq date_processed__lteq",
    ),
    fields=_names(
        "id name etag institution_id institution_name institution_identifier intellectual_object_id"
        " object_identifier alt_identifier bag_group_identifier storage_option bagit_profile_identifier"
        " source_organization internal_sender_identifier generic_file_id generic_file_identifier bucket"
        " user note action stage status outcome bag_date date_processed retry node pid needs_admin_review"
        " queued_at size stage_started_at aptrust_approver inst_approver deletion_request_id created_at"
        " updated_at"
    ),
    sorts=_names(
        "action alt_identifier bag_date bag_group_identifier bagit_profile_identifier date_processed etag"
        " generic_file_id generic_file_identifier id intellectual_object_id name object_identifier"
        " queued_at size stage status storage_option updated_at"
    ),
    time_field="date_processed",
    default_sort="updated_at__desc",
    cached_by=frozenset({"action", "institution_id"}),
    partition="generic_file_id__is_null",
)

CHECKSUMS = Resource(
    path="checksums",
    file_stem="checksums",
    filters=_kinds(
        text="algorithm digest generic_file_identifier state",
        integer="generic_file_id institution_id intellectual_object_id",
        time="datetime__gteq datetime__lteq",
    ),
    fields=_names(
        "id algorithm datetime digest state generic_file_identifier generic_file_id"
        " intellectual_object_id institution_id created_at updated_at"
    ),
    sorts=_names("algorithm datetime digest generic_file_id generic_file_identifier id intellectual_object_id state"),
    time_field="datetime",
    default_sort="datetime__desc",
)

DELETIONS = Resource(
    path="deletions",
    file_stem="deletions",
    filters=_kinds(integer="institution_id", time="requested_at__gteq requested_at__lteq"),
    fields=_names(
        "id institution_id institution_name institution_identifier requested_by_id requested_by_name"
        " requested_by_email requested_at confirmed_by_id confirmed_by_name confirmed_by_email"
        " confirmed_at cancelled_by_id cancelled_by_name cancelled_by_email cancelled_at file_count"
        " object_count"
    ),
    sorts=_names("id requested_at"),
    time_field="requested_at",
    default_sort="requested_at__desc",
)

ALERTS = Resource(
    path="alerts",
    file_stem="alerts",
    filters=_kinds(text="type", integer="institution_id user_id", time="created_at__gteq created_at__lteq"),
    fields=_names(
        "id institution_id institution_name institution_identifier type subject content"
        " deletion_request_id created_at user_id user_name user_email sent_at read_at"
    ),
    sorts=_names("created_at id type"),
    time_field="created_at",
    default_sort="created_at__desc",
)

RESOURCES: Mapping[str, Resource] = MappingProxyType(
    {r.path: r for r in (OBJECTS, FILES, EVENTS, WORK_ITEMS, CHECKSUMS, DELETIONS, ALERTS)}
)
"""The seven lists by the name the Registry gives them."""


def resource_named(name: str) -> Resource:
    """The list of this name. Raises ConfigError.

    That is the Registry's own name, that of its file in a dump, or either in the singular; apt-cmd's too.
    """
    plain = name.lower().replace("-", "").replace("_", "").removesuffix("s")
    for resource in RESOURCES.values():
        if plain in (resource.path.removesuffix("s"), resource.file_stem.replace("_", "").removesuffix("s")):
            return resource
    mend = nearest(name, RESOURCES) or f"there are {', '.join(RESOURCES)}"
    raise ConfigError(f"the Registry has no list {name!r}", place="RESOURCE", mend=mend)


PARENT_FILTER = "intellectual_object_id"
"""The filter that gives an object's files, and its own and its files' events. Counts under it are exact."""

PARENTS: Mapping[str, Resource] = MappingProxyType(
    {
        PARENT_FILTER: OBJECTS,
        "generic_file_id": FILES,
        "intellectual_object_identifier": OBJECTS,
        "object_identifier": OBJECTS,
        "generic_file_identifier": FILES,
    }
)
"""Filters that name one record to which the rows belong, by id or by identifier, and the list that one is in."""


def parse_filters(resource: Resource, arguments: Iterable[str]) -> tuple[Filter, ...]:
    """Read `name=value` arguments and check them as `check_filters` does. Raises ConfigError."""
    pairs = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            mend = f"such as {name}=VALUE" if name in resource.filters else _some_names(resource)
            raise ConfigError("a filter is written name=value", place=f"argument {argument!r}", mend=mend)
        pairs.append((name, value))
    return check_filters(resource, pairs)


def check_filters(resource: Resource, pairs: Iterable[Filter]) -> tuple[Filter, ...]:
    """Return the filters if the Registry will understand every one as it is meant; raise ConfigError if not.

    Besides unknown names and malformed values (answered with 500) this refuses what the Registry
    ignores without a word: empty values, and all but the first value of a repeated filter.
    """
    checked: list[Filter] = []
    seen: set[str] = set()
    for name, value in pairs:
        place = f"filter {name!r} of {resource.path}"
        kind = resource.filters.get(name)
        if kind is None:
            bounds = " and ".join(known for known in resource.filters if name and known.startswith(f"{name}__"))
            mend = f"there is {bounds}" if bounds else nearest(name, resource.filters) or _some_names(resource)
            raise ConfigError(f"the Registry has no filter of this name for {resource.path}", place=place, mend=mend)
        if value == "":
            raise ConfigError(
                "the Registry ignores a filter without a value and would list everything",
                place=place,
                mend="give it a value or leave it out",
            )
        if name in seen and not name.endswith("__in"):
            raise ConfigError(
                "given twice: the Registry would use the first value only", place=place, mend="give it once"
            )
        if not _fits(kind, value):
            raise ConfigError(f"{value!r} is not {kind.value}", place=place)
        seen.add(name)
        checked.append((name, value))
    return tuple(checked)


def nearest(name: str, known: Iterable[str]) -> str:
    """A question for a name that is not known: whether one like it was meant; "" if none is like it."""
    by_lower_case = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
    return f"did you mean {by_lower_case[near[0]]!r}?" if near else ""


def _some_names(resource: Resource) -> str:
    return f"filters of {resource.path}: {', '.join(resource.filters)}"


def _fits(kind: Kind, value: str) -> bool:
    if kind is Kind.INTEGER:
        return re.fullmatch(r"-?[0-9]{1,18}", value) is not None
    if kind is Kind.BOOLEAN:
        return value in ("true", "false")
    if kind is Kind.TIME:
        return parse_time(value) is not None
    return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)


def parse_sort(resource: Resource, text: str) -> str:
    """Check a sort, `<column>__asc|__desc` (`<column>` alone ascends). Raises ConfigError."""
    column, _, direction = text.partition("__")
    if column not in resource.sorts:
        known = ", ".join(resource.sorts)
        raise ConfigError(
            f"{resource.path} cannot be sorted by {column!r}",
            place="--sort",
            mend=nearest(column, resource.sorts) or f"columns: {known}",
        )
    if direction not in ("", "asc", "desc"):
        raise ConfigError(f"{direction!r} is no direction", place="--sort", mend=f"{column}__asc or {column}__desc")
    return f"{column}__{direction or 'asc'}"


def parse_time(text: str) -> datetime | None:
    """The instant a Registry time or a date means (UTC unless it says otherwise), or None if it is neither."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00:00'}{zone or '+00:00'}")
        return moment.astimezone(UTC).replace(microsecond=int((fraction or "0").ljust(6, "0")))
    except (ValueError, OverflowError):
        return None


def format_time(moment: datetime) -> str:
    """An instant as the Registry writes it: UTC, up to six fractional digits, trailing zeros trimmed."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return text.rstrip("0").rstrip(".") + "Z"
