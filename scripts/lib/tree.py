"""What the tree is made of: its files, what they include, declare, define and use, and its rooms.

Used by scripts/check-structure and scripts/house. It reads the sources as text; universal-ctags
finds what they declare and define, and where functions end. The rooms come from the build:
scripts/rooms.cmake writes each target's folder, sources and links to a file when CMake configures.

A unit is a source with its headers: slot.c, slot.h and, where there is one, slot_private.h.
"""

import json
import os
import re
import subprocess

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)
SYSTEM_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*<', re.M)
GUARD = re.compile(r'^#ifndef (\w+)\n#define \1\n', re.M)
PASTED = re.compile(r'\b(\w{3,})\s*##')
DEFINE = re.compile(r'^[ \t]*#[ \t]*define[ \t]+(\w+)((?:.*\\\n)*.*)$', re.M)
WEAK = re.compile(r'(\w+)\([^;{]*\)\s*__attribute__\(\(weak\)\)')
NOT_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
WORD = re.compile(r'(?:(\.|->|\b(?:struct|union|enum)\b)\s*)?\b([A-Za-z_]\w*)\b')
SHELL = re.compile(r'^#!.*\b(?:ba)?sh\b')
SHELL_FUNCTION = re.compile(r'^(\w[\w-]*)\(\) *[{(]')


def code_of(text):
    """The text without comments, strings and characters; lines stay where they are."""
    return NOT_CODE.sub(lambda m: ' ' + '\n' * m.group().count('\n'), text)


class Source:
    """A C file. Its identifiers are `words`, but those after . or -> `members`, and those after
    struct, union and enum `tags`."""

    def __init__(self, path, text):
        self.path, self.folder = path, os.path.dirname(path)
        self.unit = re.sub(r'(_private)?\.[ch]$', '', path)
        self.is_header = path.endswith('.h')
        self.lines = text.count('\n')
        code = code_of(text)
        self.words, self.members, self.tags = set(), set(), set()
        for before, word in WORD.findall(code):
            kind = self.members if before in ('.', '->') else self.tags if before else self.words
            kind.add(word)
        self.macros = dict(DEFINE.findall(code))
        self.weak = set(WEAK.findall(code))
        self.include_texts = INCLUDE.findall(text)
        self.includes_system = bool(SYSTEM_INCLUDE.search(text))
        self.includes = []  # the project's, as paths; this and what follows is filled by Tree
        self.guards = set(GUARD.findall(code))
        self.declares = {}  # name: its kind, as ctags calls it; not guards
        self.functions = []  # (name, first line, last line, whether it is static)
        self.types = set()  # tags of the structs, unions and enums that it defines

    def uses(self):
        return self.words | self.tags


class Tree:
    """All sources below root, by path. rooms: None, or what scripts/rooms.cmake wrote."""

    def __init__(self, root, rooms=None):
        self.root = root
        names = git_files(root)
        self.sources = {n: Source(n, read(root, n)) for n in names if n.endswith(('.c', '.h'))}
        self.markdown = [n for n in names if n.endswith('.md')]
        self.shell = [n for n in names if SHELL.match(first_line(root, n))]
        self.resolve_includes()
        self.read_tags()
        self.rooms = Rooms(rooms, root) if rooms else None

    def resolve_includes(self):
        for s in self.sources.values():
            for text in s.include_texts:
                for base in ('', s.folder, 'include'):
                    path = os.path.normpath(os.path.join(base, text))
                    if path in self.sources:
                        s.includes.append(path)
                        break

    def read_tags(self):
        if not self.sources:
            return
        out = subprocess.run(
            ['ctags', '--quiet=yes', '--options=NONE', '--output-format=json', '--languages=C', '--langmap=C:.c.h',
             '--kinds-C=+px-l', '--fields=+neKS', '-L', '-', '-f', '-'],
            cwd=self.root, input='\n'.join(sorted(self.sources)), text=True, check=True,
            stdout=subprocess.PIPE).stdout
        for line in out.splitlines():
            self.take_tag(json.loads(line))

    def take_tag(self, tag):
        s, kind, name = self.sources[tag['path']], tag['kind'], tag['name']
        if kind == 'function':
            s.functions.append((name, tag['line'], tag.get('end', tag['line']), 'file' in tag))
        if name.startswith('__anon') or name in s.guards:
            return
        s.declares.setdefault(name, kind)
        if kind in ('struct', 'union', 'enum'):
            s.types.add(name)

    def reach(self, path):
        """path and every header that it includes, directly or not."""
        seen, todo = set(), [path]
        while todo:
            at = todo.pop()
            if at not in seen:
                seen.add(at)
                todo += self.sources[at].includes
        return seen


class Target:
    def __init__(self, kind):
        self.kind, self.purpose, self.home = kind, '', ''
        self.sources, self.links, self.public = [], set(), set()

    @property
    def folder(self):
        """Where its sources are; `home` is where its CMakeLists.txt is."""
        return os.path.dirname(self.sources[0]) if self.sources else ''


class Rooms:
    """The build's targets by name, as scripts/rooms.cmake wrote them."""

    def __init__(self, path, root):
        self.targets = {}
        with open(path, encoding='utf-8') as f:
            for line in f:
                self.take(*line.rstrip('\n').split(' ', 2), os.path.realpath(root))

    def take(self, what, name, value, root):
        if what == 'target':
            self.targets[name] = Target(value)
        elif what == 'folder':
            self.targets[name].home = os.path.relpath(value, root)
        elif what == 'purpose':
            self.targets[name].purpose = value
        elif what == 'source':
            self.targets[name].sources.append(os.path.relpath(value, root))
        elif what == 'link':
            self.targets[name].links.add(value)
        else:
            self.targets[name].public.add(value)

    def offered(self, name):
        """The targets whose headers `name` may include: its links, and what those pass on."""
        mine = self.targets[name]
        seen, todo = {name}, list(mine.public if mine.kind == 'INTERFACE_LIBRARY' else mine.links)
        while todo:
            at = todo.pop()
            if at in self.targets and at not in seen:
                seen.add(at)
                todo += self.targets[at].public
        return seen

    def of_source(self, source):
        """The targets that a source or header belongs to: in its own folder, where there are."""
        stem = source.unit + '.c'
        mine = {n for n, t in self.targets.items() if source.path in t.sources or stem in t.sources}
        mine = mine or {n for n, t in self.targets.items() if t.kind != 'EXECUTABLE'
                        and t.folder == source.folder}
        return {n for n in mine if self.targets[n].folder == source.folder} or mine

    def compiles(self, name, owners):
        """True if `name` has sources of one of the owners among its own."""
        mine = set(self.targets[name].sources)
        return any(mine & set(self.targets[o].sources) for o in owners)


def git_files(root):
    out = subprocess.run(['git', '-C', root, 'ls-files', '-z', '-co', '--exclude-standard'],
                         check=True, stdout=subprocess.PIPE).stdout
    names = [n for n in out.decode().split('\0') if n]
    return sorted(n for n in set(names) if os.path.isfile(os.path.join(root, n)))


def read(root, name):
    with open(os.path.join(root, name), encoding='utf-8') as f:
        return f.read()


def first_line(root, name):
    with open(os.path.join(root, name), 'rb') as f:
        return f.readline(200).decode('utf-8', 'replace')


def circles(graph):
    """The strongly connected parts of {node: set of nodes} with more than one node, sorted."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for to in sorted(graph.get(node, ())):
            if to not in index:
                visit(to)
                low[node] = min(low[node], low[to])
            elif to in stack:
                low[node] = min(low[node], index[to])
        if low[node] == index[node]:
            part = [stack.pop()]
            while part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found)


def way_round(graph, part):
    """The shortest way from the first node of a circle's part back to it, as a list of nodes."""
    start, inside = part[0], set(part)
    before, todo = {}, [start]
    while todo:
        at = todo.pop(0)
        for to in sorted(graph[at] & inside):
            if to == start:
                way = [start, at]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1] if at != start else [start, start]
            if to not in before:
                before[to] = at
                todo.append(to)
    raise AssertionError('no circle')
