# SPDX-License-Identifier: MIT
"""Marks of tests."""


def only(kind):
    """The test runs on this kind of server alone: it starts its own, or needs the real parts."""

    def mark(function):
        function.only = kind
        return function

    return mark
