/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_pki.c - `freshet pki VERB`: a small authority in a folder.
 */
#include "cli/cli.h"

#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "base/fr_unit.h"
#include "pki/pki.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VERBS "init, issue, renew, list, revoke, crl, token or secret"

struct pki_args {
    const char *folder, *days_text, *valid, *within, *reason, *certificate;
    const char *also[PKI_ALSO_MAX];
    size_t also_count;
    const char *name; /* NULL: none was given */
    uint64_t days;    /* 0: the default */
};

static int64_t
now_s(void)
{
    return fr_clock_wall_us() / FR_US_PER_S;
}

static int
say_why(char *why)
{
    fprintf(stderr, "freshet pki: %s\n", why ? why : "failed");
    fr_free(why);
    return CLI_FAILED;
}

static void
print_day(int64_t at_s, char out[FR_TIME_ISO_BYTES])
{
    fr_time_format_iso(at_s * FR_US_PER_S, out);
    out[10] = '\0'; /* the day */
}

/* ---- verbs ---------------------------------------------------------------------------------- */

static int
run_init(const struct pki_args *args)
{
    char *why = NULL;
    unsigned days = args->days ? (unsigned)args->days : PKI_CA_DAYS_DEFAULT;
    if (pki_init(args->folder, args->name ? args->name : "freshet", now_s(), days, &why) != FR_OK)
        return say_why(why);
    printf("%s/ca.pem is the authority's certificate, for every machine;\n"
           "%s/ca.key is its key: keep it on this machine.\n"
           "next: freshet pki issue manager --also HOST\n",
           args->folder, args->folder);
    return CLI_DONE;
}

static int
run_issue(struct pki *pki, const struct pki_args *args)
{
    char *why = NULL;
    const struct pki_terms terms = {.name = args->name,
                                    .also = args->also,
                                    .also_count = args->also_count,
                                    .days = args->days ? (unsigned)args->days : PKI_DAYS_DEFAULT};
    if (args->name == NULL)
        return cli_usage("pki", "issue: for which name?");
    if (pki_issue(pki, &terms, now_s(), &why) != FR_OK)
        return say_why(why);
    printf("tls: { certificate: %s/%s.pem, key: %s/%s.key, ca: %s/ca.pem }\n", args->folder,
           args->name, args->folder, args->name, args->folder);
    return CLI_DONE;
}

static void
print_issued(void *ctx, const struct pki_issued *issued)
{
    char begins[FR_TIME_ISO_BYTES], ends[FR_TIME_ISO_BYTES];
    const int64_t *now = ctx;
    print_day(issued->begins_s, begins);
    print_day(issued->ends_s, ends);
    printf("%-24s %-10s %-10s %6" PRId64 " %-5s %-7s %-32s %.16s  %s\n", issued->name, begins, ends,
           (issued->ends_s - *now) / 86400, issued->has_key ? "here" : "there",
           issued->revoked_s       ? "revoked"
           : issued->ends_s < *now ? "ended"
                                   : "good",
           issued->serial, issued->fingerprint, issued->names);
}

static int
run_list(struct pki *pki, const struct pki_args *args)
{
    char *why = NULL;
    int64_t now = now_s();
    printf("%-24s %-10s %-10s %6s %-5s %-7s %-32s %-16s  %s\n", "NAME", "FROM", "UNTIL", "DAYS",
           "KEY", "STATE", "SERIAL", "SHA-256", "NAMES");
    return pki_list(pki, args->name, print_issued, &now, &why) == FR_OK ? CLI_DONE : say_why(why);
}

static void
print_crl(const struct pki_args *args, const struct pki_crl *crl)
{
    char ends[FR_TIME_ISO_BYTES];
    print_day(crl->ends_s, ends);
    printf("%s/crl.pem is list %" PRIu64 ", revoked: %u, good until %s\n", args->folder,
           crl->number, crl->revoked, ends);
}

static unsigned
crl_days(const struct pki_args *args)
{
    return args->days ? (unsigned)args->days : PKI_CRL_DAYS_DEFAULT;
}

static int
run_revoke(struct pki *pki, const struct pki_args *args)
{
    char *why = NULL;
    struct pki_crl crl;
    const struct pki_revocation which = {
        .name = args->name, .certificate = args->certificate, .reason = args->reason};
    if ((args->name == NULL) == (args->certificate == NULL))
        return cli_usage("pki", "revoke: one of NAME, SERIAL and --cert FILE is needed");
    enum fr_err err = pki_revoke(pki, &which, now_s(), crl_days(args), &crl, &why);
    if (err == FR_ERR_SYNTAX) {
        int status = cli_usage("pki", "--reason: %s", why);
        fr_free(why);
        return status;
    }
    if (err != FR_OK)
        return say_why(why);
    const char *what = args->name ? args->name : args->certificate;
    if (crl.added > 0)
        printf("%s: certificates revoked: %u\n", what, crl.added);
    else
        printf("%s: was revoked already\n", what);
    print_crl(args, &crl);
    return CLI_DONE;
}

static int
run_crl(struct pki *pki, const struct pki_args *args)
{
    char *why = NULL;
    struct pki_crl crl;
    if (pki_crl_renew(pki, now_s(), crl_days(args), &crl, &why) != FR_OK)
        return say_why(why);
    print_crl(args, &crl);
    return CLI_DONE;
}

/* What `renew` does to one certificate of the list. */
struct renewal {
    struct pki *pki;
    const struct pki_args *args;
    int64_t now, within_s;
    unsigned seen, done, failed;
};

static void
renew_one(void *ctx, const struct pki_issued *issued)
{
    struct renewal *renewal = ctx;
    const struct pki_args *args = renewal->args;
    const char *words[1 + PKI_ALSO_MAX];
    char names[sizeof(issued->names)], ends[FR_TIME_ISO_BYTES];
    size_t count = 0;
    char *why = NULL;
    bool named = args->name != NULL && strcmp(args->name, issued->name) == 0;
    if (args->name != NULL && !named)
        return;
    renewal->seen++;
    if (!named && issued->ends_s - renewal->now > renewal->within_s)
        return;
    if (!named && issued->revoked_s) /* shut out, and not to come back by itself */
        return;
    if (!issued->has_key) {
        printf("%s: its key is on its own machine: run `freshet join --renew` there\n",
               issued->name);
        return;
    }
    (void)fr_view_copy(fr_view_of(issued->names), names, sizeof(names)); /* as large */
    /* One more than there may be is refused by pki_issue, and not left out. */
    for (char *at = names, *word; count <= PKI_ALSO_MAX && (word = strsep(&at, " "));)
        if (strcmp(word, issued->name) != 0)
            words[count++] = word;
    const struct pki_terms terms = {.name = issued->name,
                                    .also = words,
                                    .also_count = count,
                                    .days = args->days ? (unsigned)args->days : PKI_DAYS_DEFAULT};
    if (pki_issue(renewal->pki, &terms, renewal->now, &why) != FR_OK) {
        renewal->failed++;
        (void)say_why(why);
        return;
    }
    renewal->done++;
    int64_t ends_s = renewal->now + (int64_t)terms.days * 86400, last_s = pki_ends_s(renewal->pki);
    print_day(ends_s < last_s ? ends_s : last_s, ends);
    printf("%s: renewed until %s\n", issued->name, ends);
}

static int
run_renew(struct pki *pki, const struct pki_args *args)
{
    char *why = NULL;
    int64_t within_us = 0;
    struct renewal renewal = {.pki = pki, .args = args, .now = now_s()};
    if (!fr_unit_parse_duration(fr_view_of(args->within), &within_us))
        return cli_usage("pki", "--within: found \"%s\", expected a duration such as 30d",
                         args->within);
    renewal.within_s = within_us / FR_US_PER_S;
    if (pki_list(pki, NULL, renew_one, &renewal, &why) != FR_OK)
        return say_why(why);
    if (args->name != NULL && renewal.seen == 0)
        return say_why(fr_xprintf("no certificate of %s was issued here", args->name));
    if (renewal.done == 0 && renewal.failed == 0)
        printf("nothing ends within %s\n", args->within);
    return renewal.failed ? CLI_FAILED : CLI_DONE;
}

static int
run_token(struct pki *pki, const struct pki_args *args)
{
    char token[PKI_TOKEN_BYTES];
    char *why = NULL;
    int64_t valid_us = 0;
    if (args->name == NULL)
        return cli_usage("pki", "token: for which name?");
    if (!fr_unit_parse_duration(fr_view_of(args->valid), &valid_us) || valid_us < FR_US_PER_S)
        return cli_usage("pki", "--valid: found \"%s\", expected a duration such as 1h",
                         args->valid);
    int64_t now = now_s();
    if (pki_token_make(pki, args->name, now, now + valid_us / FR_US_PER_S, token, &why) != FR_OK)
        return say_why(why);
    printf("%s\n", token);
    explicit_bzero(token, sizeof(token));
    return CLI_DONE;
}

static int
run_secret(void)
{
    char text[65], hash[PKI_FINGERPRINT_BYTES];
    if (pki_secret_make(text, hash) != FR_OK)
        return say_why(fr_xstrdup("no random numbers"));
    printf("token: %s\ntoken-sha256: %s\n", text, hash);
    explicit_bzero(text, sizeof(text));
    return CLI_DONE;
}

/* ---- the command ---------------------------------------------------------------------------- */

static int
run_verb(const char *verb, const struct pki_args *args)
{
    static const struct {
        const char *verb;
        int (*run)(struct pki *pki, const struct pki_args *args);
    } verbs[] = {{"issue", run_issue}, {"renew", run_renew},   {"list", run_list},
                 {"token", run_token}, {"revoke", run_revoke}, {"crl", run_crl}};
    if (strcmp(verb, "init") == 0)
        return run_init(args);
    if (strcmp(verb, "secret") == 0)
        return run_secret();
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        struct pki *pki = NULL;
        char *why = NULL;
        if (strcmp(verb, verbs[i].verb) != 0)
            continue;
        if (pki_open(args->folder, &pki, &why) != FR_OK)
            return say_why(why);
        int status = verbs[i].run(pki, args);
        pki_close(&pki);
        return status;
    }
    return cli_usage("pki", "no such verb: %s, expected " VERBS, verb);
}

int
cli_pki(int argc, char **argv)
{
    struct pki_args args = {.folder = "./pki", .valid = "1h", .within = "30d"};
    int operands = 0;
    const struct cli_option options[] = {
        {"--dir", "-d", .text = &args.folder, .words = "the authority's folder (./pki)"},
        {"--also", NULL, .list = args.also, .list_count = &args.also_count,
         .list_max = PKI_ALSO_MAX, .words = "issue: a further host name or address; repeatable"},
        {"--days", NULL, .text = &args.days_text,
         .words = "how long it is good (365; init: 3650; revoke, crl: 30)"},
        {"--cert", NULL, .text = &args.certificate,
         .words = "revoke: the certificate in this file"},
        {"--reason", NULL, .text = &args.reason, .words = "revoke: why, for who reads the list"},
        {"--within", NULL, .text = &args.within, .words = "renew: what ends within this (30d)"},
        {"--valid", NULL, .text = &args.valid, .words = "token: until it must be used (1h)"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands == 0)
        return cli_usage("pki", "expected " VERBS);
    if (operands > 2)
        return cli_usage("pki", "unexpected: %s", argv[3]);
    if (operands == 2)
        args.name = argv[2];
    if (args.days_text != NULL &&
        !cli_number("pki", "--days", args.days_text, 1, 36500, &args.days))
        return CLI_USAGE;
    return run_verb(argv[1], &args);
}
