# SPDX-License-Identifier: Apache-2.0
"""make install: everything arrives, where it was told to, and says what is true there."""
import os
import pathlib
import re
import subprocess

import pytest

from harness.box import BINARY, ROOT

BUILD = pathlib.Path(BINARY).resolve().parent
FILES = {
    "bin/freshet",
    "lib/systemd/system/freshet.service",
    "share/freshet/freshet.yaml",
    "share/freshet/schema/freshet-config.schema.json",
    "share/freshet/schema/freshet-stream.rnc",
    "share/freshet/schema/freshet-stream.rng",
    "share/man/man1/freshet.1",
}

# It is built again where it is told to go elsewhere, and that takes the binary away for a moment.
pytestmark = pytest.mark.alone


def tool(*arguments, cwd=ROOT):
    """A program of the build, without what a make around this test hands down."""
    env = {key: value for key, value in os.environ.items() if key not in
           ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PREFIX", "DESTDIR")}
    return subprocess.run(arguments, cwd=cwd, env=env, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)


def install(prefix, into):
    done = tool(f"{ROOT}/tools/install", str(BUILD), prefix, into.name, cwd=into.parent)
    assert done.returncode == 0, done.stdout
    return {str(path.relative_to(into)) for path in into.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Installed under /usr and then, from the same build, under the usual /usr/local."""
    if not (BUILD / "build.ninja").exists():
        pytest.skip(f"{BUILD} is no build folder")
    folder = tmp_path_factory.mktemp("install")
    first, second = folder / "first", folder / "second"
    return {"/usr": (first, install("/usr", first)),
            "/usr/local": (second, install("/usr/local", second))}


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local"])
def test_everything_is_there_and_nothing_else(installed, prefix):
    folder, files = installed[prefix]
    assert files == {f"{prefix[1:]}/{name}" for name in FILES}
    assert os.access(f"{folder}{prefix}/bin/freshet", os.X_OK)
    for name in ("lib/systemd/system/freshet.service", "share/man/man1/freshet.1"):
        text = pathlib.Path(f"{folder}{prefix}/{name}").read_text()
        assert f"{prefix}/" in text
        assert not re.search(r"@\w+@", text), name
        assert prefix == "/usr/local" or "/usr/local" not in text, name
        assert str(folder) not in text and str(BUILD) not in text, name


def test_the_program_runs(installed, box):
    folder, _ = installed["/usr"]
    done = tool(f"{folder}/usr/bin/freshet", "version", cwd=box.folder)
    assert (done.returncode, done.stdout) == (0, box.run("version").stdout)


def test_the_sample_is_fine_and_so_is_what_it_suggests(installed, box):
    folder, _ = installed["/usr"]
    text = (folder / "usr/share/freshet/freshet.yaml").read_text()
    every, count = re.subn(r"^( *)# (( *)(- )?[a-z-]+:( .*)?)$", r"\1\2", text, flags=re.M)
    assert count > 10
    every = every.replace('"/opt/app/server"', '"/bin/true"')  # which a check would look for
    for name, content in (("sample.yaml", text), ("every.yaml", every)):
        box.write(name, content)
        done = box.run("check", "-c", name)
        assert done.returncode == 0, done.stderr
        assert "fine" in done.stdout


def test_the_unit_starts_what_is_installed(installed):
    for prefix, (folder, _) in installed.items():
        unit = (folder / f"{prefix[1:]}/lib/systemd/system/freshet.service").read_text()
        (start,) = re.findall(r"^ExecStart=(\S+) (.*)$", unit, re.M)
        assert start[0] == f"{prefix}/bin/freshet"
        assert (folder / start[0][1:]).is_file()
        (config,) = re.findall(r"^ConditionPathExists=(.*)$", unit, re.M)
        assert start[1] == f"run -c {config}"


def unescaped(roff):
    return re.sub(r"\\f[BRI]", "", roff).replace("\\-", "-").replace("\\[u2026]", "…")


def test_the_man_page_says_what_help_says(installed, box):
    folder, _ = installed["/usr"]
    page = (folder / "usr/share/man/man1/freshet.1").read_text()
    assert box.run("version").stdout.split()[1] in page.splitlines()[2]
    told = unescaped(page.partition("\n.SH COMMANDS\n")[2].partition("\n.SH ")[0])
    sections = [part.split("\n.TP\n") for part in told.split(".SS\n")[1:]]
    commands = re.findall(r"^  ([a-z-]+) +\S", box.run("help").stdout.partition("\n`")[0], re.M)
    assert len(commands) > 10
    assert [head.split()[1] for head, *_ in sections] == commands
    for command, (head, *options) in zip(commands, sections):
        usage, _, rest = box.run("help", command).stdout.partition("\n\n")
        words, _, table = rest.partition("\noptions:\n")
        assert head.strip().splitlines() == [usage.strip().removeprefix("usage: "), words.strip()]
        rows = [re.fullmatch(r"  (\S.*?) {2,}(.*)|  (\S.*? VALUE) (.*)", line)
                for line in table.splitlines()]
        assert [option.strip() for option in options] == [
            f"{row[1] or row[3]}\n{row[2] or row[4]}" for row in rows], command


def test_make_hands_down_where_to(box):
    done = tool("make", "-n", "install", f"DESTDIR={box.folder}/a b", "PREFIX=/opt/f")
    assert f'tools/install build "/opt/f" "{box.folder}/a b"' in done.stdout


@pytest.mark.parametrize("arguments", [(), ("x",), ("x", "usr"), ("x", "/usr", "a", "b")])
def test_wrong_use_says_so(arguments):
    done = tool(f"{ROOT}/tools/install", *arguments)
    assert done.returncode == 2
    assert "usage" in done.stdout or "absolute path" in done.stdout
