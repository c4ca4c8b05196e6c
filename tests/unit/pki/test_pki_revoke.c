/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_pki_revoke.c - the record of what was signed, and the list of what was revoked.
 */
#include "pki_bed.h"

#include "base/fr_file.h"
#include "pki/pki_priv.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DAY_S INT64_C(86400)

struct seen {
    unsigned count, revoked;
    struct pki_issued rows[8];
};

static void
see(void *ctx, const struct pki_issued *issued)
{
    struct seen *seen = ctx;
    assert_true(seen->count < 8);
    seen->rows[seen->count++] = *issued;
    seen->revoked += issued->revoked_s != 0;
}

static struct seen
list(struct bed *bed, const char *name)
{
    struct seen seen = {0};
    char *why = NULL;
    assert_int_equal(pki_list(bed->pki, name, see, &seen, &why), FR_OK);
    assert_null(why);
    return seen;
}

static void
issue(struct bed *bed, const char *name, int64_t at_s)
{
    const struct pki_terms terms = {.name = name, .days = 1};
    char *why = NULL;
    assert_int_equal(pki_issue(bed->pki, &terms, at_s, &why), FR_OK);
}

static struct pki_crl
shut_out(struct bed *bed, const char *name, int64_t at_s)
{
    const struct pki_revocation which = {.name = name};
    struct pki_crl crl;
    char *why = NULL;
    assert_int_equal(pki_revoke(bed->pki, &which, at_s, 5, &crl, &why), FR_OK);
    return crl;
}

static void
assert_refused(struct bed *bed, const struct pki_revocation *which, int64_t at_s, enum fr_err err,
               const char *words)
{
    struct pki_crl crl;
    char *why = NULL;
    assert_int_equal(pki_revoke(bed->pki, which, at_s, 5, &crl, &why), err);
    assert_non_null(strstr(why, words));
    fr_free(why);
}

static char *
crl_path(const struct bed *bed)
{
    return fr_xprintf("%s/crl.pem", bed->folder);
}

/* Every certificate is there, joined ones too, and a name is revoked with all of them. */
static void
test_a_name_is_all_that_it_had(void **state)
{
    struct bed *bed = *state;
    for (int i = 0; i < 3; i++)
        issue(bed, "edge", NOW_S + i);
    issue(bed, "other", NOW_S);
    assert_int_equal(list(bed, NULL).count, 2);
    struct seen before = list(bed, "edge");
    assert_int_equal(before.count, 3);
    assert_int_equal(before.revoked, 0);
    assert_false(before.rows[1].has_key);
    assert_true(before.rows[2].has_key); /* the newest's */
    struct pki_crl crl = shut_out(bed, "edge", NOW_S + 10);
    assert_int_equal(crl.number, 1);
    assert_int_equal(crl.added, 3);
    assert_int_equal(crl.revoked, 3);
    assert_int_equal(crl.ends_s, NOW_S + 10 + 5 * DAY_S);
    issue(bed, "edge", NOW_S + 20);
    struct seen after = list(bed, "edge");
    assert_int_equal(after.count, 4);
    assert_int_equal(after.revoked, 3);
    assert_int_equal(after.rows[3].revoked_s, 0);
    assert_int_equal(after.rows[0].revoked_s, NOW_S + 10);
    assert_int_equal(list(bed, NULL).revoked, 0); /* the newest of each is good */
    assert_int_equal(list(bed, "other").revoked, 0);
}

static void
test_a_number_is_one(void **state)
{
    struct bed *bed = *state;
    char upper[PKI_SERIAL_BYTES] = "";
    for (int i = 0; i < 3; i++)
        issue(bed, "edge", NOW_S + i);
    struct seen before = list(bed, "edge");
    for (size_t i = 0; before.rows[1].serial[i]; i++) {
        char c = before.rows[1].serial[i];
        upper[i] = (char)(c >= 'a' ? c - ('a' - 'A') : c);
    }
    assert_int_equal(shut_out(bed, upper, NOW_S).added, 1);
    struct seen after = list(bed, "edge");
    assert_int_equal(after.revoked, 1);
    assert_true(after.rows[1].revoked_s != 0);
    /* Once is enough; the list is made anew all the same. */
    struct pki_crl again = shut_out(bed, before.rows[1].serial, NOW_S + 5);
    assert_int_equal(again.number, 2);
    assert_int_equal(again.added, 0);
    assert_int_equal(again.revoked, 1);
    assert_int_equal(list(bed, "edge").rows[1].revoked_s, NOW_S);
    const struct pki_revocation none = {.name = "00112233445566778899aabbccddeeff"};
    const struct pki_revocation outside = {.name = "../../ca"};
    assert_refused(bed, &none, NOW_S, FR_ERR_NOT_FOUND, "neither a name");
    assert_refused(bed, &outside, NOW_S, FR_ERR_NOT_FOUND, "neither a name");
}

/* A folder of before there was a record: the newest of a name, and whatever the file says. */
static void
test_what_is_not_on_record(void **state)
{
    struct bed *bed = *state;
    struct pki_crl crl;
    char command[256], *why = NULL;
    issue(bed, "edge", NOW_S);
    char *first = fr_xprintf("%s/leaked", bed->folder), *ca = fr_xprintf("%s/ca.pem", bed->folder);
    (void)snprintf(command, sizeof(command), "mv %s/edge.pem %s", bed->folder, first);
    assert_int_equal(system(command), 0);
    issue(bed, "edge", NOW_S + 1);
    (void)snprintf(command, sizeof(command), "rm -r %s/signed", bed->folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(list(bed, "edge").count, 1);
    assert_int_equal(shut_out(bed, "edge", NOW_S + 2).added, 1);
    assert_int_equal(list(bed, "edge").revoked, 1);
    const struct pki_revocation leaked = {.certificate = first};
    const struct pki_revocation own = {.certificate = ca};
    assert_int_equal(pki_revoke(bed->pki, &leaked, NOW_S, 5, &crl, &why), FR_OK);
    assert_int_equal(crl.revoked, 2);
    assert_refused(bed, &own, NOW_S, FR_ERR_NOT_FOUND, "not a certificate that this authority");
    fr_free(ca);
    fr_free(first);
}

static void
test_lists_of_others_stay(void **state)
{
    struct bed *bed = *state;
    const struct pki_revocation which = {.name = "edge"};
    struct pki_crl crl;
    struct fr_buf text;
    char other_folder[] = "/tmp/freshet-pki-XXXXXX", command[128], *why = NULL;
    struct bed other = {.pki = NULL};
    issue(bed, "edge", NOW_S);
    assert_non_null(mkdtemp(other_folder));
    assert_int_equal(pki_init(other_folder, "test", NOW_S, 10, &why), FR_OK); /* the same name */
    assert_int_equal(pki_open(other_folder, &other.pki, &why), FR_OK);
    assert_int_equal(pki_crl_renew(other.pki, NOW_S, 5, &crl, &why), FR_OK);
    (void)snprintf(command, sizeof(command), "cp %s/crl.pem %s/crl.pem", other_folder, bed->folder);
    assert_int_equal(system(command), 0);
    char *path = crl_path(bed);
    for (int i = 0; i < 2; i++) {
        fr_buf_init(&text, 10000);
        assert_refused(bed, &which, NOW_S, FR_ERR_CONFIG, "not a list of this authority");
        assert_int_equal(pki_list(bed->pki, NULL, see, NULL, &why), FR_ERR_CONFIG);
        fr_free(why);
        why = NULL;
        assert_int_equal(fr_file_read(path, &text, NULL), FR_OK);
        assert_true(i == 0 ? text.len > 100 : text.len == 8);
        fr_buf_fini(&text);
        assert_int_equal(fr_file_replace(path, FR_VIEW("nonsense"), 0600, NULL), FR_OK);
    }
    fr_free(path);
    pki_close(&other.pki);
    (void)snprintf(command, sizeof(command), "rm -r %s", other_folder);
    assert_int_equal(system(command), 0);
}

static void
test_reasons_and_ends(void **state)
{
    struct bed *bed = *state;
    struct pki_crl crl;
    struct stat status;
    char *why = NULL, *path = crl_path(bed);
    struct pki_revocation which = {.name = "edge", .reason = "because"};
    issue(bed, "edge", NOW_S);
    assert_refused(bed, &which, NOW_S, FR_ERR_SYNTAX, "expected one of key-compromise, ");
    which.reason = "key-compromise";
    assert_refused(bed, &which, NOW_S + 10 * DAY_S, FR_ERR_REFUSED, "the authority ended");
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(pki_revoke(bed->pki, &which, NOW_S, 30, &crl, &why), FR_OK);
    assert_int_equal(crl.ends_s, pki_ends_s(bed->pki)); /* nothing of it is good for longer */
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0644);
    X509_CRL *read = NULL;
    assert_int_equal(pki__crl_read(bed->pki, &read, &why), FR_OK);
    const X509_REVOKED *entry = sk_X509_REVOKED_value(X509_CRL_get_REVOKED(read), 0);
    ASN1_ENUMERATED *code = X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, NULL, NULL);
    assert_int_equal(ASN1_ENUMERATED_get(code), CRL_REASON_KEY_COMPROMISE);
    ASN1_ENUMERATED_free(code);
    X509_CRL_free(read);
    assert_int_equal(pki_crl_renew(bed->pki, NOW_S + DAY_S, 30, &crl, &why), FR_OK);
    assert_int_equal(crl.number, 2);
    assert_int_equal(crl.revoked, 1);
    fr_free(path);
}

static void
assert_not_renewable(struct bed *bed, const char *serial, enum fr_err err, const char *words)
{
    char *why = NULL;
    assert_int_equal(pki_renewable(bed->pki, serial, &why), err);
    assert_non_null(strstr(why, words));
    fr_free(why);
}

/* Of those revoked none, wherever in the list; and none of which the list cannot tell. */
static void
test_who_is_renewed(void **state)
{
    struct bed *bed = *state;
    char *why = NULL, *path = crl_path(bed);
    for (int i = 0; i < 4; i++)
        issue(bed, "edge", NOW_S + i);
    struct seen seen = list(bed, "edge");
    assert_int_equal(pki_renewable(bed->pki, seen.rows[0].serial, &why), FR_OK); /* no list yet */
    for (int i = 0; i < 3; i++)
        assert_int_equal(shut_out(bed, seen.rows[i].serial, NOW_S).added, 1);
    for (int i = 0; i < 3; i++)
        assert_not_renewable(bed, seen.rows[i].serial, FR_ERR_REFUSED, "was revoked");
    assert_int_equal(pki_renewable(bed->pki, seen.rows[3].serial, &why), FR_OK);
    assert_null(why);
    assert_not_renewable(bed, "", FR_ERR_REFUSED, "no serial number");
    assert_int_equal(fr_file_replace(path, FR_VIEW("nonsense"), 0644, NULL), FR_OK);
    assert_not_renewable(bed, seen.rows[3].serial, FR_ERR_CONFIG, "not a list of this authority");
    fr_free(path);
}

/* As many as there may be are a list that can be read; one more leaves it as it is. */
static void
test_a_list_has_a_limit(void **state)
{
    struct bed *bed = *state;
    const struct pki_revocation all = {.name = "edge", .reason = "key-compromise"};
    const struct pki_revocation one = {.name = "other"};
    struct pki_crl crl;
    char command[128], *why = NULL, *folder = fr_xprintf("%s/signed/edge", bed->folder);
    issue(bed, "edge", NOW_S);
    issue(bed, "other", NOW_S);
    for (unsigned i = 1; i < PKI_REVOKED_MAX; i++) { /* what is not read counts by its number */
        char *path = fr_xprintf("%s/%040x.pem", folder, i);
        path[strlen(folder) + 1] = '7'; /* all its 20 bytes */
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_true(fd >= 0 && close(fd) == 0);
        fr_free(path);
    }
    assert_int_equal(pki_revoke(bed->pki, &all, NOW_S, 5, &crl, &why), FR_OK);
    assert_int_equal(crl.revoked, PKI_REVOKED_MAX);
    (void)snprintf(command, sizeof(command), "rm -r %s", folder); /* the list is its own record */
    assert_int_equal(system(command), 0);
    assert_refused(bed, &one, NOW_S, FR_ERR_FULL, "as many certificates as it may (8192)");
    assert_int_equal(list(bed, "other").revoked, 0);
    assert_int_equal(list(bed, "edge").revoked, 1);
    fr_free(folder);
}

/* Certificates here last a day: one stays for one list behind its end, and leaves the next. */
static void
test_what_has_ended_leaves_the_list(void **state)
{
    struct bed *bed = *state;
    struct pki_crl crl;
    char *why = NULL;
    issue(bed, "edge", NOW_S);
    assert_int_equal(shut_out(bed, "edge", NOW_S).revoked, 1);
    assert_int_equal(pki_crl_renew(bed->pki, NOW_S + 2 * DAY_S, 5, &crl, &why), FR_OK);
    assert_int_equal(crl.revoked, 1);
    assert_int_equal(pki_crl_renew(bed->pki, NOW_S + 3 * DAY_S, 5, &crl, &why), FR_OK);
    assert_int_equal(crl.revoked, 0);
}

/* Who is renewed without end gets no more, and shuts out no other; what has ended makes room. */
static void
test_a_name_has_a_limit(void **state)
{
    struct bed *bed = *state;
    const struct pki_terms terms = {.name = "edge", .days = 1}, other = {.name = "b", .days = 1};
    char *why = NULL, *folder = fr_xprintf("%s/signed/edge", bed->folder);
    issue(bed, "edge", NOW_S);
    struct seen seen = list(bed, "edge");
    char *first = fr_xprintf("%s/%s.pem", folder, seen.rows[0].serial);
    for (unsigned i = 1; i < PKI_SIGNED_MAX; i++) { /* as many that are the first, but by number */
        char *path = fr_xprintf("%s/%032x.pem", folder, i);
        assert_int_equal(link(first, path), 0);
        fr_free(path);
    }
    assert_int_equal(pki_issue(bed->pki, &terms, NOW_S, &why), FR_ERR_FULL);
    assert_non_null(strstr(why, "edge has as many certificates"));
    fr_free(why);
    why = NULL;
    assert_int_equal(pki_issue(bed->pki, &other, NOW_S, &why), FR_OK);
    assert_int_equal(pki_issue(bed->pki, &terms, NOW_S + 2 * DAY_S, &why), FR_OK);
    assert_int_equal(list(bed, "edge").count, 1);
    fr_free(first);
    fr_free(folder);
}

#define WRITERS 4

/* Of several at one moment none is lost. */
static void
test_several_at_a_time(void **state)
{
    struct bed *bed = *state;
    static const char *const names[WRITERS] = {"a", "b", "c", "d"};
    pid_t children[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        issue(bed, names[i], NOW_S);
    for (int i = 0; i < WRITERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            const struct pki_revocation which = {.name = names[i]};
            struct pki_crl crl;
            char *why = NULL;
            _exit(pki_revoke(bed->pki, &which, NOW_S, 5, &crl, &why) != FR_OK);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    struct seen seen = list(bed, NULL);
    assert_int_equal(seen.count, WRITERS);
    assert_int_equal(seen.revoked, WRITERS);
}

/* Who holds the list for ever holds up nobody for ever, and nothing is written meanwhile. */
static void
test_a_list_that_is_being_made(void **state)
{
    struct bed *bed = *state;
    const struct pki_revocation which = {.name = "a"};
    char *folder = fr_xprintf("%s/signed", bed->folder), *path = crl_path(bed);
    issue(bed, "a", NOW_S);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
    assert_refused(bed, &which, NOW_S, FR_ERR_IO, "/signed: Device or resource busy");
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(close(fd), 0);
    assert_int_equal(shut_out(bed, "a", NOW_S).added, 1);
    fr_free(path);
    fr_free(folder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_name_is_all_that_it_had, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_a_number_is_one, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_what_is_not_on_record, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_lists_of_others_stay, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_reasons_and_ends, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_who_is_renewed, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_a_list_has_a_limit, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_what_has_ended_leaves_the_list, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_a_name_has_a_limit, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_several_at_a_time, bed_open, bed_close),
        cmocka_unit_test_setup_teardown(test_a_list_that_is_being_made, bed_open, bed_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
