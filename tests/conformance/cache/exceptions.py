# SPDX-License-Identifier: Apache-2.0
"""Tests of the public suite that are not passed on purpose, each with its clause."""

EXCEPTIONS = {}
