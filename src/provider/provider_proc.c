/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider_proc.c - reads /proc: start times, process groups and the markers of our servers.
 *
 * May touch:  base, files under /proc and the state folder.  Never: signals, sockets.
 * Threads:    the control thread: at start, and when a server ends.
 * Memory:     one buffer of ENVIRON_BYTES_MAX at most, for the length of a call.
 * Trusts:     nothing: a process may write what it likes into its own environment, but only its
 *             user's processes can be read, and the instance's 128 bits are its state folder's own.
 * Follows:    proc(5), /proc/PID/stat and /proc/PID/environ.
 */
#include "provider/provider_proc.h"

#include "base/fr_file.h"
#include "base/fr_hash.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#define ENVIRON_TRIES 10
#define FLAG_KERNEL_THREAD 0x00200000u /* PF_KTHREAD of linux/sched.h */
/* A marker further behind is not found. Ours stands first in what we start ourselves. */
#define ENVIRON_BYTES_MAX (1u << 20)

/* Fields are separated by spaces, but the second, the name in brackets, may hold anything: parsing
 * begins behind its last bracket. */
static bool
stat_parse(struct fr_view text, struct provider_proc *out)
{
    const char *bracket = memrchr(text.ptr, ')', text.len);
    if (!bracket)
        return false;
    struct fr_view rest = fr_view_make(bracket + 1, text.len - (size_t)(bracket + 1 - text.ptr));
    struct fr_view word;
    uint64_t number;
    unsigned field = 2; /* the empty word before the first space stands for the name */
    for (; fr_view_split(&rest, ' ', &word); field++) {
        if (field == 3 && (fr_view_is(word, "Z") || fr_view_is(word, "X")))
            return false;
        if (field == 5) {
            if (!fr_view_u64(word, &number) || number > INT32_MAX)
                return false;
            out->group = (pid_t)number;
        }
        if (field == 9) {
            if (!fr_view_u64(word, &number))
                return false;
            out->kernel = number & FLAG_KERNEL_THREAD;
        }
        if (field == 22)
            return fr_view_u64(word, &out->started);
    }
    return false;
}

static void
environ_find(struct fr_view rest, char out[PROVIDER_MARKER_BYTES])
{
    struct fr_view entry, name = FR_VIEW(PROVIDER_MARKER_NAME "=");
    out[0] = 0;
    while (fr_view_split(&rest, '\0', &entry)) {
        if (!fr_view_starts(entry, name))
            continue;
        struct fr_view value = fr_view_make(entry.ptr + name.len, entry.len - name.len);
        (void)fr_view_copy(value, out, PROVIDER_MARKER_BYTES); /* too long: not ours, and empty */
        return;
    }
}

/* What is larger than the ceiling, or can't be read, counts as not there. */
static bool
proc_file(pid_t pid, const char *name, struct fr_buf *buf)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    fr_buf_clear(buf);
    return fr_file_read(path, buf, NULL) == FR_OK;
}

/* In the middle of an exec a process has no environment for a moment: it is looked at again, for a
 * missed server would be started twice. One that has none for good costs these few milliseconds. */
static bool
environ_read(pid_t pid, struct fr_buf *buf)
{
    for (int i = 0; i < ENVIRON_TRIES; i++) {
        if (!proc_file(pid, "environ", buf))
            return false; /* gone, or another user's */
        if (buf->len)
            return true;
        (void)poll(NULL, 0, 1);
    }
    return false;
}

static bool
proc_read(pid_t pid, struct fr_buf *buf, struct provider_proc *out)
{
    out->pid = pid;
    out->marker[0] = 0;
    /* Zombies and kernel threads have no environment either, but they say so. */
    if (!proc_file(pid, "stat", buf) || !buf->len || !stat_parse(fr_buf_view(buf), out))
        return false;
    if (!out->kernel && environ_read(pid, buf))
        environ_find(fr_buf_view(buf), out->marker);
    /* Behind the environment, so that a pid that changed hands in between shows its new start. */
    return proc_file(pid, "stat", buf) && buf->len && stat_parse(fr_buf_view(buf), out);
}

bool
provider_proc_read(pid_t pid, struct provider_proc *out)
{
    struct fr_buf buf;
    fr_buf_init(&buf, ENVIRON_BYTES_MAX);
    bool found = proc_read(pid, &buf, out);
    fr_buf_fini(&buf);
    return found;
}

void
provider_proc_each(struct fr_view prefix,
                   void (*visit)(void *ctx, const struct provider_proc *proc), void *ctx)
{
    struct fr_buf buf;
    uint64_t pid;
    DIR *folder = opendir("/proc");
    if (!folder)
        return;
    fr_buf_init(&buf, ENVIRON_BYTES_MAX);
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct provider_proc proc = {0};
        if (!fr_view_u64(fr_view_of(entry->d_name), &pid) || pid > INT32_MAX)
            continue;
        if (proc_read((pid_t)pid, &buf, &proc) && proc.marker[0] &&
            fr_view_starts(fr_view_of(proc.marker), prefix))
            visit(ctx, &proc);
    }
    fr_buf_fini(&buf);
    (void)closedir(folder); /* read only: nothing to lose */
}

static bool
instance_valid(struct fr_view text)
{
    if (text.len != PROVIDER_INSTANCE_BYTES - 1)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!memchr("0123456789abcdef", text.ptr[i], 16))
            return false;
    return true;
}

enum fr_err
provider_instance_read(const char *state_folder, char out[PROVIDER_INSTANCE_BYTES])
{
    char path[4096];
    struct fr_buf buf;
    struct fr_hash_key key;
    int count = snprintf(path, sizeof(path), "%s/instance", state_folder);
    if (count < 0 || (size_t)count >= sizeof(path))
        return FR_ERR_RANGE;
    fr_buf_init(&buf, 256);
    int error = 0;
    enum fr_err err = fr_file_read(path, &buf, &error);
    if (err == FR_ERR_IO && error != ENOENT)
        goto out; /* it may well be there: a new name would lose every running server */
    struct fr_view text = buf.len ? fr_buf_view(&buf) : FR_VIEW("");
    while (text.len && text.ptr[text.len - 1] == '\n')
        text.len--;
    if (!err && instance_valid(text)) {
        (void)fr_view_copy(text, out, PROVIDER_INSTANCE_BYTES); /* the length was checked */
        goto out;
    }
    /* Absent, or somebody's bad edit: a new name. Servers of the old one are strangers then. */
    fr_hash_key_random(&key);
    (void)snprintf(out, PROVIDER_INSTANCE_BYTES, "%016llx%016llx", (unsigned long long)key.k0,
                   (unsigned long long)key.k1);
    fr_buf_clear(&buf);
    err = fr_buf_printf(&buf, "%s\n", out);
    if (!err)
        err = fr_file_make_folder(state_folder, NULL);
    if (!err)
        err = fr_file_replace(path, fr_buf_view(&buf), 0600, NULL);
out:
    fr_buf_fini(&buf);
    return err;
}
