"""The same job as others would do it: each a script for an environment of its own, `SCRIPT URL EMAIL KEY DIRECTORY`.

Written as their users write them, by the OpenAPI document: the default sort, `next` followed, 1,000 a page.
"""
