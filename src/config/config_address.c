/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_address.c - the types that are addresses.
 *
 * May touch:  base, loop (addresses), the resolver: blocks, unless the reader keeps to the text.
 */
#include "config/config_priv.h"

#include "base/fr_check.h"
#include "base/fr_list.h"
#include "base/fr_mem.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define ADDRESS_BYTES_MAX 300 /* a host name of 255 and a port */

/* The address of a scalar; false: said why. */
static bool
read_address(struct config__reader *reader, const struct config__row *row,
             const struct config_node *node, struct loop_addr *out)
{
    if (node->kind != CONFIG_SCALAR || node->value.len == 0 || node->value.len > ADDRESS_BYTES_MAX)
        return config__bad_value(reader, row, node);
    enum fr_err err =
        reader->world ? loop_addr_resolve(node->value, out) : loop_addr_parse(node->value, out);
    if (err == FR_ERR_RESOLVE)
        return config__bad(reader, row, node, "is \"%.*s\", expected an address that resolves",
                           FR_VIEW_ARG(node->value));
    if (err)
        return config__bad_value(reader, row, node);
    return true;
}

static void
set_canonical(char **field, const struct loop_addr *addr)
{
    char text[LOOP_ADDR_TEXT_BYTES];
    loop_addr_format(addr, text);
    config__set_text(field, fr_view_of(text));
}

static void
set_address(void *field, const struct loop_addr *addr)
{
    struct config__address *address = field;
    set_canonical(&address->text, addr);
    address->addr = *addr;
}

/* A server that we connect to: port 0 and "every interface" are places to listen, not to go. */
static bool
is_reachable(const struct loop_addr *addr)
{
    if (addr->sa.any.sa_family == AF_UNIX)
        return true;
    if (loop_addr_port(addr) == 0)
        return false;
    if (addr->sa.any.sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)&addr->sa)->sin_addr.s_addr != 0;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)&addr->sa;
    return !IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr);
}

static bool
read_reachable(struct config__reader *reader, const struct config__row *row,
               const struct config_node *node, struct loop_addr *out)
{
    if (!read_address(reader, row, node, out))
        return false;
    if (!is_reachable(out))
        return config__bad(reader, row, node,
                           "is \"%.*s\", expected an address to connect to, with host and port",
                           FR_VIEW_ARG(node->value));
    return true;
}

bool
config__parse_address(struct config__reader *reader, const struct config__row *row,
                      const struct config_node *node, void *field)
{
    struct loop_addr addr;
    if (!read_reachable(reader, row, node, &addr))
        return false;
    set_address(field, &addr);
    return true;
}

/* As above, and "off". */
bool
config__parse_admin(struct config__reader *reader, const struct config__row *row,
                    const struct config_node *node, void *field)
{
    struct config__address *address = field;
    if (node->kind == CONFIG_SCALAR && fr_view_is(node->value, "off")) {
        fr_free(address->text);
        *address = (struct config__address){0};
        return true;
    }
    struct loop_addr addr;
    if (!read_address(reader, row, node, &addr))
        return false;
    set_address(field, &addr);
    return true;
}

/* Text alone; ":PORT" stays as it is, it stands for the member's own host. */
bool
config__parse_address_text(struct config__reader *reader, const struct config__row *row,
                           const struct config_node *node, void *field)
{
    struct loop_addr addr;
    if (!read_address(reader, row, node, &addr))
        return false;
    if (node->value.ptr[0] == ':' && loop_addr_port(&addr) != 0) {
        config__set_text(field, node->value);
        return true;
    }
    if (!is_reachable(&addr))
        return config__bad_value(reader, row, node);
    set_canonical(field, &addr);
    return true;
}

bool
config__parse_listen_address(struct config__reader *reader, const struct config__row *row,
                             const struct config_node *node, void *field)
{
    struct config_listen *listen = FR_CONTAINER(field, struct config_listen, text);
    struct loop_addr addr;
    if (!read_address(reader, row, node, &addr))
        return false;
    listen->addr = addr;
    listen->line = node->line;
    set_canonical(&listen->text, &addr);
    return true;
}

bool
config__parse_member_address(struct config__reader *reader, const struct config__row *row,
                             const struct config_node *node, void *field)
{
    struct config_member *member = FR_CONTAINER(field, struct config_member, address);
    struct loop_addr addr;
    if (node->kind == CONFIG_SCALAR && node->value.len <= ADDRESS_BYTES_MAX &&
        loop_addr_parse(node->value, &addr) == FR_ERR_RESOLVE) {
        config__set_text(&member->name, node->value);
        if (!reader->world || loop_addr_resolve(node->value, &addr) != FR_OK) {
            /* A cluster's will be looked up while the edge runs; config__members_finish knows. */
            config__set_text(&member->address, node->value);
            member->addr = (struct loop_addr){0};
            return true;
        }
        if (loop_addr_port(&addr) == 0)
            return config__bad(reader, row, node,
                               "is \"%.*s\", expected an address to connect to, with host and port",
                               FR_VIEW_ARG(node->value));
    } else if (!read_reachable(reader, row, node, &addr)) {
        return false;
    }
    member->addr = addr;
    set_canonical(&member->address, &addr);
    return true;
}

/* A numeric address without a port, into a fixed array. Not "every interface": the edge connects to
 * it, and two pools on it must not share a port. */
bool
config__parse_ip(struct config__reader *reader, const struct config__row *row,
                 const struct config_node *node, void *field)
{
    char text[64];
    struct in_addr four;
    struct in6_addr six;
    if (node->kind != CONFIG_SCALAR || !fr_view_copy(node->value, text, sizeof(text)))
        return config__bad_value(reader, row, node);
    bool is_four = inet_pton(AF_INET, text, &four) == 1 && four.s_addr != 0;
    bool is_six = inet_pton(AF_INET6, text, &six) == 1 && !IN6_IS_ADDR_UNSPECIFIED(&six);
    if (!is_four && !is_six)
        return config__bad_value(reader, row, node);
    return fr_view_copy(node->value, field, row->field_bytes);
}
