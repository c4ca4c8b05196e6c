/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_sample.h - the file of DESIGN section 8, byte for byte: it must always load.
 */
#ifndef CONFIG_SAMPLE_H
#define CONFIG_SAMPLE_H

static const char config_sample[] =
    "workers: 2                          # default: one a core\n"
    "state: ./state                      # ledger, journal\n"
    "admin: unix:./state/admin.sock\n"
    "manager:\n"
    "  listen: unix:./state/manager.sock # `freshet run`; an edge alone says `connect:`\n"
    "listen:\n"
    "  - address: 127.0.0.1:8080\n"
    "  - address: 127.0.0.1:8443\n"
    "    tls: { certificate: cert.pem, key: key.pem }\n"
    "cache:\n"
    "  memory: 256MiB                    # present: every route caches by RFC 9111 unless it says "
    "`cache: off`\n"
    "routes:\n"
    "  - match: { host: example.com, path: /api/ }\n"
    "    cluster: api\n"
    "  - cluster: web                    # everything else\n"
    "clusters:\n"
    "  web:\n"
    "    members: [\"127.0.0.1:9001\", { address: \"127.0.0.1:9002\", weight: 50 }]\n"
    "  api:\n"
    "    balance: p2c\n"
    "    health: { path: /healthz, interval: 2s }\n"
    "    limit: 64                       # requests in flight on one member at utilization 1.0\n"
    "    scale: { from: local, min: 1, max: 8, upper: 0.80, lower: 0.30 }\n"
    "pools:\n"
    "  local:\n"
    "    provider: process\n"
    "    command: [\"./app\", \"--port\", \"{port}\"]\n"
    "    ports: 9101-9120\n"
    "  rack:\n"
    "    provider: static\n"
    "    servers: [\"10.0.0.5:8080\", \"10.0.0.6:8080\"]\n";

#endif
