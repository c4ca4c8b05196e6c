/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_priv.h - what the files of this room share: rows, types, and the reader that joins them.
 *
 * Shape:  options.def gives the rows. A row knows its scope (which struct), its path below that
 *         scope ("scale.upper.for"), its type, bounds and default. A type knows how to parse a node
 *         into a field and how to print the field. Everything else walks the rows.
 */
#ifndef CONFIG_PRIV_H
#define CONFIG_PRIV_H

#include "config/config.h"

#define CONFIG_LISTEN_MAX 64
#define CONFIG_CERTIFICATES_MAX 4096 /* of one listener */
#define CONFIG_MEMBERS_MAX 10000
#define CONFIG_NETWORKS_MAX 256
#define CONFIG_PEERS_MAX 4096 /* of the manager, and users of the admin listener */
#define CONFIG_COMMAND_MAX 256 /* words of a command, and variables of an environment */
#define CONFIG_TEXT_BYTES_MAX 4096
#define CONFIG_BODY_BYTES_MAX 16384 /* of a fixed response: it is copied into each answer */
#define CONFIG_PAGE_BYTES_MAX 16384 /* of park.page: likewise */
#define CONFIG_HEADERS_MAX 32       /* fields that one answer adds */
#define CONFIG_HEADERS_BYTES_MAX 8192

enum config__scope {
    CONFIG_SCOPE_FILE,
    CONFIG_SCOPE_LISTEN,
    CONFIG_SCOPE_CERTIFICATE,
    CONFIG_SCOPE_ROUTE,
    CONFIG_SCOPE_MEMBER,
    CONFIG_SCOPE_WINDOW,
    CONFIG_SCOPE_CLUSTER,
    CONFIG_SCOPE_POOL,
    CONFIG_SCOPE_PEER,
    CONFIG_SCOPE_USER,
    CONFIG_SCOPE_COUNT
};

/* The struct that a scope's fields are in. */
#define CONFIG_STRUCT_FILE struct config
#define CONFIG_STRUCT_LISTEN struct config_listen
#define CONFIG_STRUCT_CERTIFICATE struct config_certificate
#define CONFIG_STRUCT_ROUTE struct config_route
#define CONFIG_STRUCT_MEMBER struct config_member
#define CONFIG_STRUCT_WINDOW struct config_window
#define CONFIG_STRUCT_CLUSTER struct config_cluster
#define CONFIG_STRUCT_POOL struct config_pool
#define CONFIG_STRUCT_PEER struct config_peer
#define CONFIG_STRUCT_USER struct config_user

enum config__type {
    CONFIG_TYPE_MAPPING,
    CONFIG_TYPE_BOOL,
    CONFIG_TYPE_COUNT,
    CONFIG_TYPE_BYTES,
    CONFIG_TYPE_DURATION,
    CONFIG_TYPE_RATIO,
    CONFIG_TYPE_CHOICE,
    CONFIG_TYPE_FLAGS,
    CONFIG_TYPE_STEPS,
    CONFIG_TYPE_NAME,
    CONFIG_TYPE_POOL_NAMES,
    CONFIG_TYPE_NAME_TEXT,
    CONFIG_TYPE_TEXT,
    CONFIG_TYPE_HOST,
    CONFIG_TYPE_PATH,
    CONFIG_TYPE_TOKEN,
    CONFIG_TYPE_TOKEN_NAME,
    CONFIG_TYPE_SECRET,
    CONFIG_TYPE_HEADER,
    CONFIG_TYPE_HEADERS,
    CONFIG_TYPE_LOCATION,
    CONFIG_TYPE_BODY,
    CONFIG_TYPE_FILE_NAME,
    CONFIG_TYPE_STATUS,
    CONFIG_TYPE_PORTS,
    CONFIG_TYPE_IP,
    CONFIG_TYPE_ADDRESS,
    CONFIG_TYPE_ADMIN,
    CONFIG_TYPE_ADDRESS_TEXT,
    CONFIG_TYPE_LISTEN_ADDRESS,
    CONFIG_TYPE_MEMBER_ADDRESS,
    CONFIG_TYPE_PROVIDER,
    CONFIG_TYPE_COMMAND,
    CONFIG_TYPE_ENVIRONMENT,
    CONFIG_TYPE_NETWORKS,
    CONFIG_TYPE_LISTEN,
    CONFIG_TYPE_CERTIFICATES,
    CONFIG_TYPE_MEMBERS,
    CONFIG_TYPE_WINDOWS,
    CONFIG_TYPE_ROUTES,
    CONFIG_TYPE_CLUSTERS,
    CONFIG_TYPE_POOLS,
    CONFIG_TYPE_NAMES,
    CONFIG_TYPE_PEERS,
    CONFIG_TYPE_USERS,
    CONFIG_TYPE_COUNT_OF
};

enum config__when { CONFIG_WHEN_LIVE, CONFIG_WHEN_RESTART };

struct config__row {
    enum config__scope scope;
    const char *path;
    enum config__type type;
    bool has_field; /* MAPPING: a flag that says "was given" */
    size_t offset, field_bytes;
    const char *unit, *min, *max, *default_text;
    enum config__when when;
    const char *words;
};

/* A file (or a piece of one) on its way into structs. */
struct config__reader {
    struct config_diag *diag;
    bool world;      /* may ask the resolver and look for programs; a fuzzer may not */
    bool runtime;    /* marks what it makes */
    bool restoring;  /* from a ledger, or for another role: a folder need not be there */
    bool managed;    /* a manager elsewhere may fill a cluster that says `members: []` */
    char where[192]; /* "clusters.web", in front of keys in messages; "" at the top of a file */
};

/* Arrays lie in the structs as a pointer followed by its count. */
struct config__array {
    void *items;
    size_t count;
};

/* An address as text, followed by its value. */
struct config__address {
    char *text;
    struct loop_addr addr;
};

struct config__type_ops {
    const char *name; /* for the reference page */
    /* The node into the field at `field`; false: the error is in the reader's diag. */
    bool (*parse)(struct config__reader *reader, const struct config__row *row,
                  const struct config_node *node, void *field);
    /* The field as YAML flow text; nothing when it is not set. */
    enum fr_err (*print)(const struct config__row *row, const void *field, struct fr_buf *out);
};

/* ---- config_option.c: the rows --------------------------------------------------------------- */

extern const struct config__row config__rows[];
extern const size_t config__row_count;

const char *config__scope_name(enum config__scope scope);
const struct config__row *config__row_find(enum config__scope scope, struct fr_view path);
/* The next row that is a direct child of `prefix` ("" = the top); start with NULL. */
const struct config__row *config__row_next(enum config__scope scope, struct fr_view prefix,
                                           const struct config__row *after);
/* The last word of its path. */
struct fr_view config__row_key(const struct config__row *row);
bool config__row_is_computed(const struct config__row *row);
static inline void *
config__row_field(const struct config__row *row, void *base)
{
    return (char *)base + row->offset;
}
/* What the row takes, in words: "a duration from 1ms to 1h with its unit (us, ms, s, min, h, d)".
 */
enum fr_err config__row_expected(const struct config__row *row, struct fr_buf *out);
/* Every default of the scope into a zeroed struct. */
void config__defaults(enum config__scope scope, void *base);

/* Walks the words of "a, b, c": false at the end. */
bool config__word_next(struct fr_view *rest, struct fr_view *out_word);
/* The nearest of "a, b, c" to what was written, or an empty view when none is near. */
struct fr_view config__nearest(struct fr_view written, struct fr_view words);

/* ---- config_value.c, config_text.c, config_answer.c, config_address.c, config_list.c: the types
 * -------------------------------- */

extern const struct config__type_ops config__types[CONFIG_TYPE_COUNT_OF];

bool config__parse_name(struct config__reader *reader, const struct config__row *row,
                        const struct config_node *node, void *field);
bool config__parse_pool_names(struct config__reader *reader, const struct config__row *row,
                              const struct config_node *node, void *field);
bool config__parse_name_text(struct config__reader *reader, const struct config__row *row,
                             const struct config_node *node, void *field);
bool config__parse_text(struct config__reader *reader, const struct config__row *row,
                        const struct config_node *node, void *field);
bool config__parse_host(struct config__reader *reader, const struct config__row *row,
                        const struct config_node *node, void *field);
bool config__parse_path(struct config__reader *reader, const struct config__row *row,
                        const struct config_node *node, void *field);
bool config__parse_token(struct config__reader *reader, const struct config__row *row,
                         const struct config_node *node, void *field);
bool config__parse_secret(struct config__reader *reader, const struct config__row *row,
                          const struct config_node *node, void *field);
bool config__parse_header(struct config__reader *reader, const struct config__row *row,
                          const struct config_node *node, void *field);
bool config__parse_headers(struct config__reader *reader, const struct config__row *row,
                           const struct config_node *node, void *field);
bool config__parse_location(struct config__reader *reader, const struct config__row *row,
                            const struct config_node *node, void *field);
bool config__parse_body(struct config__reader *reader, const struct config__row *row,
                        const struct config_node *node, void *field);
bool config__parse_file_name(struct config__reader *reader, const struct config__row *row,
                             const struct config_node *node, void *field);
bool config__parse_address(struct config__reader *reader, const struct config__row *row,
                           const struct config_node *node, void *field);
bool config__parse_admin(struct config__reader *reader, const struct config__row *row,
                         const struct config_node *node, void *field);
bool config__parse_address_text(struct config__reader *reader, const struct config__row *row,
                                const struct config_node *node, void *field);
bool config__parse_listen_address(struct config__reader *reader, const struct config__row *row,
                                  const struct config_node *node, void *field);
bool config__parse_member_address(struct config__reader *reader, const struct config__row *row,
                                  const struct config_node *node, void *field);
bool config__parse_ip(struct config__reader *reader, const struct config__row *row,
                      const struct config_node *node, void *field);
bool config__parse_command(struct config__reader *reader, const struct config__row *row,
                           const struct config_node *node, void *field);
bool config__parse_environment(struct config__reader *reader, const struct config__row *row,
                               const struct config_node *node, void *field);
bool config__parse_networks(struct config__reader *reader, const struct config__row *row,
                            const struct config_node *node, void *field);
bool config__parse_listen(struct config__reader *reader, const struct config__row *row,
                          const struct config_node *node, void *field);
/* config_tls.c */
void config__check_certificate(struct config__reader *reader, const struct config_node *node,
                               const struct config_certificate *certificate);
void config__check_tls(struct config__reader *reader, const struct config_node *node,
                       const struct config_listen *listen);
/* What a cluster says of TLS, and the client that comes of it. */
void config__check_member_tls(struct config__reader *reader, const struct config_node *node,
                              struct config_cluster *cluster);
void config__member_tls_free(struct config_member_tls *tls);
/* config_access.c */
bool config__parse_names(struct config__reader *reader, const struct config__row *row,
                         const struct config_node *node, void *field);
bool config__parse_peers(struct config__reader *reader, const struct config__row *row,
                         const struct config_node *node, void *field);
bool config__parse_users(struct config__reader *reader, const struct config__row *row,
                         const struct config_node *node, void *field);
/* The control stream and the administration interface: encrypted where they leave the machine. */
void config__check_control(struct config__reader *reader, const struct config_node *root,
                           const struct config *config);
void config__access_free(struct config *config);
void config__names_free(char ***names);
void config__tls_free(struct config_listen_tls *tls);
/* The state folder is known: names the files of certificates that are fetched. */
void config__acme_finish(struct config *config);

bool config__parse_certificates(struct config__reader *reader, const struct config__row *row,
                                const struct config_node *node, void *field);
bool config__parse_members(struct config__reader *reader, const struct config__row *row,
                           const struct config_node *node, void *field);
bool config__parse_routes(struct config__reader *reader, const struct config__row *row,
                          const struct config_node *node, void *field);
bool config__parse_clusters(struct config__reader *reader, const struct config__row *row,
                            const struct config_node *node, void *field);
bool config__parse_pools(struct config__reader *reader, const struct config__row *row,
                         const struct config_node *node, void *field);
enum fr_err config__print_name(const struct config__row *row, const void *field,
                               struct fr_buf *out);
enum fr_err config__print_pool_names(const struct config__row *row, const void *field,
                                     struct fr_buf *out);
enum fr_err config__print_text(const struct config__row *row, const void *field,
                               struct fr_buf *out);
enum fr_err config__print_header(const struct config__row *row, const void *field,
                                 struct fr_buf *out);
enum fr_err config__print_headers(const struct config__row *row, const void *field,
                                  struct fr_buf *out);
enum fr_err config__print_command(const struct config__row *row, const void *field,
                                  struct fr_buf *out);
/* "NAME<separator>VALUE" texts, up to a NULL, as a mapping. */
enum fr_err config__print_pairs(char *const *pairs, const char *separator, struct fr_buf *out);
enum fr_err config__print_environment(const struct config__row *row, const void *field,
                                      struct fr_buf *out);
enum fr_err config__print_members(const struct config__row *row, const void *field,
                                  struct fr_buf *out);

/* Replaces a text of a struct. */
void config__set_text(char **field, struct fr_view value);

/* ---- config_load.c: walking -------------------------------------------------------------------
 */

/* One mapping into the struct at base, by the scope's rows. Errors are in the reader's diag. */
void config__read_scope(struct config__reader *reader, enum config__scope scope,
                        const struct config_node *node, void *base);
/* "timeouts.connect is "500", expected …" for a value that its row does not take. Always false. */
bool config__bad_value(struct config__reader *reader, const struct config__row *row,
                       const struct config_node *node);
/* An error at a node, the key's full name in front: "clusters.web.scale.from is …". */
__attribute__((format(printf, 4, 5))) bool config__bad(struct config__reader *reader,
                                                       const struct config__row *row,
                                                       const struct config_node *node,
                                                       const char *format, ...);
/* Extends reader->where; *out_saved puts it back by config__where_back. */
__attribute__((format(printf, 3, 4))) void
config__where_into(struct config__reader *reader, size_t *out_saved, const char *format, ...);
void config__where_back(struct config__reader *reader, size_t saved);
/* The node of a dotted path below a mapping, or the nearest one above it that was written. */
const struct config_node *config__place(const struct config_node *node, const char *path);
/* The node exactly there; NULL when it was not written. */
const struct config_node *config__given(const struct config_node *node, const char *path);

/* config_parse; `world` false keeps to the text: nothing is resolved and no program looked for. */
FR_MUST_USE enum fr_err config__parse(struct fr_view text, const char *name, enum config_role role,
                                      bool world, struct config_diag *diag, struct config **out);

/* ---- config_route.c, config_cluster.c, config_pool.c --------------------------------------------
 */

/* config_answer.c: what a route answers by itself. Checks that there is one action, and opens the
 * folder of `files`; frees what the three own. */
void config__answers_finish(struct config__reader *reader, const struct config_node *node,
                            struct config_route *route);
void config__answers_free(struct config_route *route);
/* Always give an object; whether it is good is what the diag says. */
struct config_route *config__route_read(struct config__reader *reader,
                                        const struct config_node *node, size_t index);
struct config_cluster *config__cluster_read(struct config__reader *reader, struct fr_view name,
                                            const struct config_node *node);
struct config_pool *config__pool_read(struct config__reader *reader, struct fr_view name,
                                      const struct config_node *node);
/* Fills in the ids that were not given ("web-127.0.0.1-9001") and refuses ids and addresses that
 * come twice. list: the node the members stand in. */
void config__members_finish(struct config__reader *reader, const char *owner, bool names_wait,
                            const struct config_node *list, struct config_member *members,
                            size_t count);
/* config_sticky.c: what the settings of sessions must agree on. */
void config__check_sticky_keys(struct config__reader *reader, const struct config_node *root,
                               const struct config *config);
void config__check_sticky(struct config__reader *reader, const struct config_node *node,
                          const struct config_cluster *cluster);
/* A name as the key of a mapping; false: said so. */
bool config__name_check(struct config__reader *reader, struct fr_view name,
                        const struct config_node *node, const char *what);
void config__members_free(struct config_member **members, size_t *count);
void config__words_free(char ***words); /* ends with NULL; may be NULL */

/* ---- config_window.c ------------------------------------------------------------------------- */

bool config__parse_windows(struct config__reader *reader, const struct config__row *row,
                           const struct config_node *node, void *field);
enum fr_err config__print_windows(const struct config__row *row, const void *field,
                                  struct fr_buf *out);
void config__windows_free(struct config_window **windows, size_t *count);
/* What the windows and the limits of the cluster must agree on. */
void config__check_windows(struct config__reader *reader, const struct config_node *node,
                           const struct config_scale *scale);

/* ---- config_network.c ------------------------------------------------------------------------ */

/* What the file says of whom it believes, and of its log. */
void config__check_trust(struct config__reader *reader, const struct config_node *root,
                         const struct config *config);

/* ---- config_check.c, config_print.c ------------------------------------------------------------
 */

/* What only the whole file shows. */
void config__check_file(struct config__reader *reader, const struct config_node *root,
                        enum config_role role, const struct config *config);

/* The scope's values that differ from the defaults, as one flow mapping. */
FR_MUST_USE enum fr_err config__print_scope(enum config__scope scope, const void *base,
                                            const void *defaults, struct fr_buf *out);

#endif
