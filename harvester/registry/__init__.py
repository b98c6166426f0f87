"""The Registry's member API v3 as an async client. Knows HTTP, knows nothing of dumps."""

from harvester.registry.client import Page, Record, RegistryClient, Traffic
from harvester.registry.counting import exact_count
from harvester.registry.listing import listed
from harvester.registry.resources import RESOURCES, Filter, Resource, check_filters, parse_filters, resource_named
from harvester.registry.walk import BY_ID, Start, walk

__all__ = [
    "BY_ID",
    "RESOURCES",
    "Filter",
    "Page",
    "Record",
    "RegistryClient",
    "Resource",
    "Start",
    "Traffic",
    "check_filters",
    "exact_count",
    "listed",
    "parse_filters",
    "resource_named",
    "walk",
]
