# SPDX-License-Identifier: Apache-2.0
"""Validates stanzas against schema/freshet-stream.rng."""
import copy
import pathlib

from lxml import etree

NAMESPACE = "urn:freshet:stream:1"
SCHEMA = pathlib.Path(__file__).resolve().parents[3] / "schema/freshet-stream.rng"


class Validator:
    def __init__(self):
        self.schema = etree.RelaxNG(etree.parse(str(SCHEMA)))

    def problem(self, element):
        """None when the document under this root is valid, else the words."""
        document = etree.fromstring(etree.tostring(element))
        return None if self.schema.validate(document) else str(self.schema.error_log)

    def stanza_problem(self, root, stanza):
        """A stanza inside a stream with the attributes that its stream has."""
        stream = etree.Element(root.tag, attrib=root.attrib, nsmap={None: NAMESPACE})
        stream.append(copy.deepcopy(stanza))
        return self.problem(stream)
