# SPDX-License-Identifier: Apache-2.0
"""Validates stanzas against schema/freshet-stream.rng.

libxml2 tries every subset of an element's optional attributes, which takes it minutes for a <server>
with twenty of them. So the optional attributes are checked here one by one, each against its own
pattern of the schema, and libxml2 sees the element without them.
"""
import copy
import pathlib

from lxml import etree

NAMESPACE = "urn:freshet:stream:1"
SCHEMA = pathlib.Path(__file__).resolve().parents[3] / "schema/freshet-stream.rng"
RNG = "{http://relaxng.org/ns/structure/1.0}"


class Validator:
    def __init__(self):
        self.tree = etree.parse(str(SCHEMA))
        self.schema = etree.RelaxNG(self.tree)
        self.defines = {}
        for define in self.tree.getroot().iter(RNG + "define"):
            self.defines.setdefault(define.get("name"), []).append(define)
        self.single = {}

    def contents(self, pattern, optional=False):
        """(kind, node, optional) of the attributes and elements directly in a pattern."""
        for node in pattern:
            if node.tag == RNG + "ref":
                for define in self.defines[node.get("name")]:
                    yield from self.contents(define, optional)
            elif node.tag in (RNG + "attribute", RNG + "element"):
                yield node.tag[len(RNG):], node, optional
            elif isinstance(node.tag, str) and node.tag != RNG + "define":
                yield from self.contents(node, optional or node.tag == RNG + "optional")

    def value_problem(self, node, name, value):
        """What is wrong with one attribute's value."""
        key = self.tree.getpath(node)
        if key not in self.single:
            root = self.tree.getroot()
            grammar = etree.Element(RNG + "grammar", attrib=dict(root.attrib), nsmap=root.nsmap)
            element = etree.SubElement(etree.SubElement(grammar, RNG + "start"), RNG + "element",
                                       name="x", ns="")
            element.append(copy.deepcopy(node))
            for defines in self.defines.values():
                grammar.extend(copy.deepcopy(define) for define in defines)
            self.single[key] = etree.RelaxNG(etree.ElementTree(grammar))
        instance = etree.Element("x", attrib={name: value})
        return None if self.single[key].validate(instance) else str(self.single[key].error_log)

    def strip(self, element, patterns):
        """Checks and takes off the optional attributes of an element and of those inside it."""
        inner = [row for pattern in patterns for row in self.contents(pattern)]
        for name, value in list(element.attrib.items()):
            nodes = [node for kind, node, optional in inner
                     if kind == "attribute" and optional and node.get("name") == name]
            required = [node for kind, node, optional in inner
                        if kind == "attribute" and not optional and node.get("name") == name]
            if nodes and not required:
                problems = [self.value_problem(node, name, value) for node in nodes]
                if None not in problems:
                    return f"{name}={value!r} of <{etree.QName(element).localname}>: {problems[0]}"
                del element.attrib[name]
        for child in element:
            local = etree.QName(child).localname
            candidates = [node for kind, node, _ in inner
                          if kind == "element" and node.get("name") == local]
            problem = self.strip(child, candidates) if candidates else None
            if problem:
                return problem
        return None

    def problem(self, element):
        """None when the document under this root is valid, else the words."""
        document = etree.fromstring(etree.tostring(element))
        local = etree.QName(document).localname
        start = next(self.tree.getroot().iter(RNG + "start"))
        roots = [node for kind, node, _ in self.contents(start)
                 if kind == "element" and node.get("name") == local]
        problem = self.strip(document, roots)
        if problem:
            return problem
        return None if self.schema.validate(document) else str(self.schema.error_log)

    def stanza_problem(self, root, stanza):
        """A stanza inside a stream with the attributes that its stream has."""
        stream = etree.Element(root.tag, attrib=root.attrib, nsmap={None: NAMESPACE})
        stream.append(copy.deepcopy(stanza))
        return self.problem(stream)
