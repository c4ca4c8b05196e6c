# SPDX-License-Identifier: Apache-2.0
"""The house rules are only worth something if breaking each of them is noticed."""
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEAD = "/* SPDX-License-Identifier: Apache-2.0 */\n/*\n * {name} - a fixture.\n */\n"


def put(root, name, body, head=HEAD):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head.format(name=path.name) + body)


def tidy(root, *arguments):
    done = subprocess.run([str(ROOT / "tools/tidy"), "--root", str(root), *arguments],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout.splitlines()


def broken(tmp_path, name, body, **more):
    """The rules broken by one file of a tree that has nothing else."""
    put(tmp_path, name, body, **more)
    code, lines = tidy(tmp_path, "--no-compile")
    found = {line.split(": ")[1] for line in lines[:-1]}
    assert code == (1 if found else 0)
    return found


def function(lines, name="static int\nthing"):
    return f"{name}(void)\n{{\n" + "    ;\n" * (lines - 2) + "}\n"


def test_a_clean_tree_is_clean(tmp_path):
    put(tmp_path, "src/base/fr_thing.h", "int fr_thing(int x);\n")
    put(tmp_path, "src/base/fr_thing.c",
        '#include "base/fr_thing.h"\n\nint\nfr_thing(int x)\n{\n    return x;\n}\n')
    put(tmp_path, "src/http/http_x.c",
        '#include "base/fr_thing.h"\n\nstatic int\nx(void)\n{\n    return fr_thing(1);\n}\n')
    put(tmp_path, "tests/unit/base/test_fr_thing.c", "")
    assert tidy(tmp_path) == (0, ["tidy: 4 files, 0 violations"])


def test_arrow_that_runs_back(tmp_path):
    assert broken(tmp_path, "src/loop/loop_x.c", '#include "proxy/proxy.h"\n') == {"arrow"}


def test_edge_and_manager_never_meet(tmp_path):
    assert broken(tmp_path, "src/manager/mgr_x.c", '#include "edge/edge.h"\n') == {"arrow"}


def test_wire_includes_only_base(tmp_path):
    assert broken(tmp_path, "src/wire/wire_x.c", '#include "loop/loop.h"\n') == {"arrow"}


def test_unknown_room(tmp_path):
    assert broken(tmp_path, "src/attic/a.c", "") == {"arrow"}


def test_pure_rooms_have_no_sockets(tmp_path):
    for number, header in enumerate(("sys/socket.h", "unistd.h", "time.h", "pthread.h")):
        found = broken(tmp_path / str(number), "src/http/http_x.c", f"#include <{header}>\n")
        assert found == {"pure"}, header


def test_pure_rooms_do_not_log(tmp_path):
    assert broken(tmp_path, "src/policy/policy_x.c", '#include "base/fr_log.h"\n') == {"pure"}


def test_missing_spdx(tmp_path):
    assert broken(tmp_path, "src/base/fr_x.def", "ROW(1)\n", head="") == {"spdx"}


def test_missing_card(tmp_path):
    head = "/* SPDX-License-Identifier: Apache-2.0 */\n/*\n * Some words.\n */\n"
    assert broken(tmp_path, "src/base/fr_x.c", "", head=head) == {"card"}


def test_card_whose_paragraphs_ran_together(tmp_path):
    head = HEAD.replace("a fixture.", "a fixture.\n *\n * Memory:     none. {words}")
    assert broken(tmp_path, "src/base/fr_x.c", "", head=head.replace("{words}", "So: x.")) == set()
    assert broken(tmp_path, "src/base/fr_x.c", "",
                  head=head.replace("{words}", "When full:  no.")) == {"card"}


def test_long_line(tmp_path):
    assert broken(tmp_path / "a", "src/base/fr_x.c", "/*" + "x" * 96 + "*/\n") == set()
    assert broken(tmp_path / "b", "src/base/fr_x.c", "/*" + "x" * 97 + "*/\n") == {"line"}


def test_long_function(tmp_path):
    assert broken(tmp_path / "a", "src/base/fr_x.c", function(70)) == set()
    assert broken(tmp_path / "b", "src/base/fr_x.c", function(71)) == {"function"}


def test_long_file(tmp_path):
    assert broken(tmp_path / "a", "src/base/fr_x.c", "\n" * 796) == set()
    assert broken(tmp_path / "b", "src/base/fr_x.c", "\n" * 797) == {"file"}


def test_banned_calls(tmp_path):
    for number, call in enumerate(("strcpy(a, b)", "strcat(a, b)", "sprintf(a, b)", "atoi(a)",
                                   "strtok(a, b)", "malloc(1)", "free(a)", "assert(a)")):
        found = broken(tmp_path / str(number), "src/base/fr_x.c", f"#define X {call}\n")
        assert found == {"call"}, call


def test_banned_names_inside_other_names_and_texts_are_fine(tmp_path):
    body = ('#define A fr_free(x)\n#define B x->free(y)\n#define C "malloc(1)"\n'
            "/* call malloc(1) */\n#define D static_assert(1, \"\")\n#define E snprintf(a, 1)\n")
    assert broken(tmp_path, "src/base/fr_x.c", body) == set()


def test_a_reason_excuses_a_call(tmp_path):
    body = "/* tidy: allow call: the library frees it with its own. */\n#define A free(x)\n"
    assert broken(tmp_path / "a", "src/base/fr_x.c", body) == set()
    assert broken(tmp_path / "b", "src/base/fr_x.c", body.replace(" the library frees it with its "
                                                                  "own.", "")) == {"call"}


def test_clocks(tmp_path):
    for number, call in enumerate(("clock_gettime(a, b)", "time(0)", "fr_clock_mono_us()")):
        found = broken(tmp_path / f"a{number}", "src/proxy/proxy_x.c", f"#define X {call}\n")
        assert found == {"clock"}, call
        assert broken(tmp_path / f"b{number}", "src/loop/loop_x.c", f"#define X {call}\n") == set()


def test_left_overs_and_machine_paths(tmp_path):
    left = "/* " + "TO" + "DO later */\n"
    assert broken(tmp_path / "a", "src/base/fr_x.c", left) == {"left-over"}
    path = "/" + "root" + "/x"
    assert broken(tmp_path / "b", "src/base/fr_x.c", f'#define X "{path}"\n') == {"path"}


def test_export_used_in_one_file(tmp_path):
    put(tmp_path, "src/base/fr_x.h", "int fr_x(void);\n")
    assert broken(tmp_path, "src/base/fr_x.c", function(3, "int\nfr_x")) == {"export"}
    assert broken(tmp_path, "src/base/fr_y.c", "#define Y fr_x()\n") == set()


def test_export_in_no_header(tmp_path):
    assert broken(tmp_path, "src/base/fr_x.c", function(3, "int\nfr_x")) == {"export"}


def test_header_that_does_not_stand_alone(tmp_path):
    put(tmp_path, "src/base/fr_x.h", "static inline size_t fr_x(void) { return 0; }\n")
    code, lines = tidy(tmp_path)
    assert code == 1 and "src/base/fr_x.h:1: header: does not compile alone" in lines[0]


def test_repeated_magic(tmp_path):
    assert broken(tmp_path, "src/base/fr_x.c",
                  "#define A_MAGIC 0x1u\n#define B_MAGIC 0x01u\n") == {"magic"}


def test_unit_test_that_mirrors_nothing(tmp_path):
    assert broken(tmp_path, "tests/unit/base/test_fr_gone.c", "") == {"mirror"}


def test_fuzz_harness_without_seeds(tmp_path):
    assert broken(tmp_path, "tests/fuzz/fuzz_x.c", "") == {"mirror"}


def test_docs_that_name_code(tmp_path):
    put(tmp_path, "src/base/fr_x.c", function(3, "static int\nfr_here"))
    assert broken(tmp_path, "A.md", "see `src/base/fr_x.c`, `fr_here()`\n", head="") == set()
    assert broken(tmp_path, "A.md", "see `src/base/fr_gone.c`\n", head="") == {"docs"}
    assert broken(tmp_path, "A.md", "see `fr_gone()`\n", head="") == {"docs"}
