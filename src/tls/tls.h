/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.h - TLS over the loop's sockets: what a listener shows (server), what a cluster asks of its
 * members (client), and sessions as filters under a socket.
 *
 * May touch:  base, loop, OpenSSL 3. Certificates are read by the control thread only.
 * Threads:    servers and clients are immutable and counted; any worker may accept or connect with
 *             them. A session belongs to its socket's loop. Ticket keys have a lock of their own,
 *             taken once a handshake.
 * Memory:     a session is freed with its socket. Files are read once, when a server is made.
 * Limits:     TLS 1.2 and 1.3; no renegotiation, no compression, no early data. The handshake's
 *             time is its owner's to limit.
 * Follows:    RFC 8446, RFC 5246, RFC 6066 (names, stapling), RFC 7301 (ALPN), RFC 6125 section
 *             6.4, and Mozilla's "intermediate" recommendation for what is on by default.
 */
#ifndef TLS_H
#define TLS_H

#include "base/fr_err.h"
#include "base/fr_view.h"
#include "loop/loop.h"

struct tls_server;
struct tls_client;
struct tls_session;
struct tls_tickets;

/* ---- keys for resumption ------------------------------------------------------------------ */

#define TLS_TICKET_ROTATE_US 3600000000LL /* a key seals for this long, and opens twice as long */

/* RFC 5077, RFC 8446 section 4.6.1: shared by every worker and every listener of a process. */
struct tls_tickets *tls_tickets_new(void);
void tls_tickets_rotate(struct tls_tickets *tickets);
void tls_tickets_free(struct tls_tickets **tickets); /* after every server that has it */

/* ---- challenges of tls-alpn-01 (RFC 8737) -------------------------------------------------- */

#define TLS_CHALLENGES_MAX 256 /* at a time */

struct tls_challenges;
struct x509_st; /* OpenSSL's X509 and EVP_PKEY */
struct evp_pkey_st;
struct tls_challenges *tls_challenges_new(void);
void tls_challenges_free(struct tls_challenges **challenges); /* after every server that has it */
/* Shown to who asks for that host by the protocol acme-tls/1; references are taken. Any thread.
 * False: there is no room. */
bool tls_challenges_put(struct tls_challenges *challenges, const char *domain,
                        struct x509_st *certificate, struct evp_pkey_st *key);
void tls_challenges_remove(struct tls_challenges *challenges, const char *domain);

/* ---- servers ------------------------------------------------------------------------------ */

enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };
enum tls_client_auth { TLS_CLIENT_AUTH_OFF, TLS_CLIENT_AUTH_OPTIONAL, TLS_CLIENT_AUTH_REQUIRED };

struct tls_pair {            /* of files */
    const char *certificate; /* PEM: the certificate, then those between it and the root */
    const char *key;         /* PEM */
    const char *ocsp;        /* DER: an OCSP response to staple; NULL: none */
};

/* Whether a listener could show it; errors as of tls_server_new. */
FR_MUST_USE enum fr_err tls_pair_check(const struct tls_pair *pair, char **out_why);

struct tls_server_options {
    const struct tls_pair *pairs; /* the first is shown to clients that name no host of ours */
    size_t pair_count;
    enum tls_version version_min;
    const char *ciphers; /* of TLS 1.2, in OpenSSL's notation; NULL: the defaults */
    enum tls_client_auth client_auth;
    const char *client_ca;       /* PEM; with client_auth */
    const char *client_crl;      /* PEM; NULL: none is asked for */
    bool h2;                     /* offered by ALPN, before HTTP/1.1 */
    struct tls_tickets *tickets; /* borrowed */
};

/* FR_ERR_NOT_FOUND: a file is not there; FR_ERR_CONFIG: it is no good; any other: it cannot be
 * read. *out_why (owned by the caller) names it and what is wrong with it. */
FR_MUST_USE enum fr_err tls_server_new(const struct tls_server_options *options,
                                       struct tls_server **out, char **out_why);
/* Before its first connection; challenges is borrowed. */
void tls_server_challenge(struct tls_server *server, struct tls_challenges *challenges);
struct tls_server *tls_server_ref(struct tls_server *server);
void tls_server_unref(struct tls_server **server); /* NULL inside is allowed */
size_t tls_server_certificate_count(const struct tls_server *server);
/* When it ends, in seconds since 1970, and the name that it is called by in logs. */
int64_t tls_server_certificate_ends_s(const struct tls_server *server, size_t index);
const char *tls_server_certificate_name(const struct tls_server *server, size_t index);

/* Lists of revoked certificates that were read: a file, and when the first of them ends. */
struct tls_revocations {
    const char *path; /* NULL: there are none */
    int64_t ends_s;
};
struct tls_revocations tls_server_revocations(const struct tls_server *server);
/* Says so when they have ended, or end within a day. */
void tls_revocations_warn(const char *room, struct tls_revocations lists, int64_t now_s);

/* ---- the control stream and the admin interface ------------------------------------------- */

struct tls_control_options { /* of files, PEM */
    const char *certificate, *key;
    const char *ca;  /* whom the other end's certificate must come from; NULL (servers): nobody's */
    const char *crl; /* lists of what the authorities have revoked; NULL: nobody is asked */
    const char *name; /* clients: that the server's certificate must have */
};
/* TLS 1.3 only, without resumption. A server asks for a certificate and goes on without: who shows
 * none may do little. One that is not good ends the handshake. Errors as of tls_server_new. */
FR_MUST_USE enum fr_err tls_control_server(const struct tls_control_options *options,
                                           struct tls_server **out, char **out_why);
/* The first name of a certificate's file; false when it has none, or cannot be read. */
bool tls_certificate_first_name(const char *path, char *out, size_t out_bytes);

/* Files that are looked at again and again: what replaces certificates often moves a symbolic link
 * two folders up, which no watch of a folder tells. Begin with sum 0; path may be NULL. */
uint64_t tls_files_look(uint64_t sum, const char *path);

/* What one process shows and asks for, made of files and made again when they change. Logs as
 * `room`. */
struct tls_identity {
    struct loop *loop;
    const char *room;
    char *certificate, *key, *ca, *crl, *name;
    bool serves; /* else it connects */
    struct tls_server *server;
    struct tls_client *client;
    uint64_t files;
    int64_t ends_s, warned_at_us;
    uint64_t reloads, reloads_failed;
    struct loop_timer timer;
    loop_fn changed; /* may be NULL */
    void *ctx;
};
/* Zero-initialise. `changed` runs when what new connections are to use is another. */
FR_MUST_USE enum fr_err tls_identity_init(struct tls_identity *identity, struct loop *loop,
                                          const char *room,
                                          const struct tls_control_options *options, bool serves,
                                          loop_fn changed, void *ctx, char **out_why);
/* Reads the files again, which may be others now (SIGHUP); on failure the old ones stay, logged,
 * and *out_why (fr_free; may be NULL) says why. Without a certificate in `options`, which takes a
 * restart, the files are those of before. */
enum fr_err tls_identity_reload(struct tls_identity *identity,
                                const struct tls_control_options *options, char **out_why);
void tls_identity_fini(struct tls_identity *identity); /* zeroed is allowed */

/* ---- clients ------------------------------------------------------------------------------ */

struct tls_client_options {
    bool verify;      /* that the member's chain is good and its certificate names it */
    const char *ca;   /* PEM; NULL: the system's */
    const char *crl;  /* PEM; NULL: nobody is asked whether a certificate was revoked */
    const char *name; /* asked for (SNI) and verified; NULL: the member's host */
    const char *certificate, *key; /* ours, PEM; NULL: none */
    bool h2;
};

FR_MUST_USE enum fr_err tls_client_new(const struct tls_client_options *options,
                                       struct tls_client **out, char **out_why);
struct tls_client *tls_client_ref(struct tls_client *client); /* NULL is allowed */
void tls_client_unref(struct tls_client **client);

/* The latest session with one member, to be resumed by the client that made it: another may ask
 * more of a member's certificate. Zero-initialise; one loop's. */
struct tls_resume {
    void *session;
    struct tls_client *client; /* one reference, or NULL */
};
void tls_resume_clear(struct tls_resume *resume);

/* ---- sessions ----------------------------------------------------------------------------- */

enum tls_outcome {
    TLS_DONE,
    TLS_RESUMED, /* done, without a full handshake */
    TLS_FAILED,
};
/* Called once, from inside an operation of the socket, when the handshake ended. words (static or
 * until the call returns): why it failed, else "". The socket must not be closed in it: the
 * operation fails, and that is when. */
typedef void (*tls_handshake_fn)(void *ctx, enum tls_outcome outcome, const char *words);

/* Puts TLS under an accepted socket with no operation under way. early: what was received of it
 * already (behind a PROXY header); copied. The handshake goes on within its receives and sends.
 * *out is valid until the socket is closed. */
FR_MUST_USE enum fr_err tls_accept(struct tls_server *server, struct loop_sock *sock,
                                   struct fr_view early, tls_handshake_fn fn, void *ctx,
                                   struct tls_session **out);
/* Likewise under a connected one. host: the member's, without a port. resume (may be NULL) is read
 * and replaced; it must live until the socket is closed. */
FR_MUST_USE enum fr_err tls_connect(struct tls_client *client, struct loop_sock *sock,
                                    const char *host, struct tls_resume *resume,
                                    tls_handshake_fn fn, void *ctx, struct tls_session **out);

/* Before the first operation: HTTP/2 is not offered, whatever the client says. */
void tls_session_http1_only(struct tls_session *session);

bool tls_session_ready(const struct tls_session *session); /* the handshake is over, and good */
const char *tls_session_version(const struct tls_session *session);     /* "TLSv1.3" */
struct fr_view tls_session_protocol(const struct tls_session *session); /* by ALPN; "" none */
struct fr_view tls_session_name(const struct tls_session *session);     /* by SNI; "" none */
/* The client's certificate: its subject (RFC 2253, ASCII) and its SHA-256 in hexadecimal. False: it
 * showed none that was good. */
#define TLS_FINGERPRINT_BYTES 65
bool tls_session_peer(const struct tls_session *session, char *subject, size_t subject_bytes,
                      char fingerprint[TLS_FINGERPRINT_BYTES]);
/* The DNS names of the other end's certificate, one space between two, as many as fit. False: it
 * showed none that was good, or some did not fit. */
bool tls_session_peer_names(const struct tls_session *session, char *out, size_t out_bytes);
/* The serial number of that certificate, hexadecimal. False: it showed none that was good. */
#define TLS_SERIAL_BYTES 41 /* 20 bytes (RFC 5280), and a NUL */
bool tls_session_peer_serial(const struct tls_session *session, char out[TLS_SERIAL_BYTES]);
/* Its IP addresses, as its names; they say nothing of who it is. */
bool tls_session_peer_addresses(const struct tls_session *session, char *out, size_t out_bytes);
/* It failed for lists of revoked certificates: the other end's is on one, or no list tells. */
bool tls_session_revoked(const struct tls_session *session);
/* Why it failed, the alert of the other end included; "" when it did not. */
const char *tls_session_why(const struct tls_session *session);

#endif
