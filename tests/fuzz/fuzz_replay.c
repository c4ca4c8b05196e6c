/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_replay.c - a harness without a fuzzer: every file of a folder, once, each in a block of
 * exactly its size, so that ASan sees a read past the end.
 *
 * An empty or missing folder is a failure: a replay that replays nothing proves nothing.
 */
#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>

#define SEED_BYTES_MAX (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
replay(const char *path)
{
    struct fr_buf buf;
    int why = 0;
    fr_buf_init(&buf, SEED_BYTES_MAX);
    if (fr_file_read(path, &buf, &why)) {
        fprintf(stderr, "%s: %s\n", path, strerror(why));
        fr_buf_fini(&buf);
        return 1;
    }
    uint8_t *exact = fr_xalloc(buf.len ? buf.len : 1);
    if (buf.len)
        memcpy(exact, buf.data, buf.len);
    (void)LLVMFuzzerTestOneInput(exact, buf.len); /* by its contract always 0 */
    fr_free(exact);
    fr_buf_fini(&buf);
    return 0;
}

int
main(int argc, char **argv)
{
    size_t count = 0;
    int failed = 0;
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (!folder) {
        fprintf(stderr, "usage: fuzz-NAME FOLDER: every file in it is replayed\n");
        return 2;
    }
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = fr_xprintf("%s/%s", argv[1], entry->d_name);
        failed |= replay(path);
        fr_free(path);
        count++;
    }
    (void)closedir(folder); /* it was only read */
    printf("%zu files replayed\n", count);
    return failed || count == 0;
}
