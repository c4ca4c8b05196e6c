# SPDX-License-Identifier: Apache-2.0
"""peers.py - how each server is started for a workload: its configuration, its command.

A peer writes what it needs into its folder and returns its command. `kind`: cache; static (files in
memory instead of a cache, for servers that have none); floor (a canned answer: the least that this
kernel lets a server spend). All use one core, log nothing, and keep connections for an hour.
"""
import dataclasses
import os
import pathlib
import re
import resource
import shutil
import subprocess

CACHED = ("hit-1k", "hit-64k", "conn", "conn-deferred", "hot-set")
EVERY = ("hit-1k", "hit-64k", "proxy-1k", "h2-hit-1k", "conn", "conn-deferred", "conn-tls",
         "conn-resumed", "hot-set")
OVER_TLS = ("h2-hit-1k", "conn-tls", "conn-resumed")
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@dataclasses.dataclass
class Place:
    """Where a peer runs: `cache` tells whether it may answer by itself."""
    folder: pathlib.Path
    workload: str
    port: int
    tls_port: int
    aux_port: int
    origin_port: int
    web: pathlib.Path
    cert: pathlib.Path
    key: pathlib.Path
    both: pathlib.Path

    @property
    def cache(self):
        return self.workload != "proxy-1k"

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path


@dataclasses.dataclass
class Peer:
    name: str
    kind: str
    binary: str
    start: object  # (Place, binary) -> argv
    version: object  # (argv, pattern)
    workloads: tuple = EVERY
    env: dict = dataclasses.field(default_factory=dict)

    def found(self):
        return shutil.which(self.binary)

    def version_words(self):
        args, pattern = self.version
        done = subprocess.run([self.binary, *args], capture_output=True, text=True, check=False)
        match = re.search(pattern, done.stdout + done.stderr)
        return match.group(1) if match else "-"


def descriptors():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def freshet(place, binary):
    cache = "cache: { memory: 1GiB }\n" if place.cache else ""
    log = os.environ.get("BENCH_FRESHET_MORE", "")
    config = place.write("freshet.yaml", f"""workers: 1
state: {place.folder}/state
admin: unix:{place.folder}/admin.sock
listen:
  - address: 127.0.0.1:{place.port}
  - address: 127.0.0.1:{place.tls_port}
    tls: {{ certificate: {place.cert}, key: {place.key} }}
{cache}{log}
routes:
  - cluster: origin
clusters:
  origin: {{ members: ["127.0.0.1:{place.origin_port}"] }}
""")
    return [binary, "edge", "-c", str(config)]


def nginx(place, binary):
    # Reading a small file costs it less than sendfile, a large one more. tcp_nopush holds back the
    # large segments of loopback.
    sendfile = "on" if place.workload == "hit-64k" else "off"
    defer = " deferred" if place.workload == "conn-deferred" else ""
    cached = ("proxy_cache c; proxy_cache_key $uri; proxy_cache_valid 200 1d;" if place.cache
              else "proxy_cache off; proxy_max_temp_file_size 0;")
    folder = place.folder
    config = place.write("nginx.conf", f"""daemon off; worker_processes 1; user root; pcre_jit on;
pid {folder}/pid; error_log {folder}/error.log error; worker_rlimit_nofile {descriptors()};
events {{ worker_connections 16384; multi_accept on; }}
http {{
  access_log off; server_tokens off; sendfile {sendfile}; tcp_nopush off; tcp_nodelay on;
  keepalive_timeout 3600s; keepalive_requests 1000000000;
  open_file_cache max={descriptors() - 2000} inactive=1d; open_file_cache_valid 1d;
  open_file_cache_min_uses 1;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  proxy_cache_path {folder}/cache levels=1:2 keys_zone=c:64m max_size=4g inactive=1d
    use_temp_path=off;
  ssl_certificate {place.cert}; ssl_certificate_key {place.key}; ssl_protocols TLSv1.3;
  ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
  upstream o {{
    server 127.0.0.1:{place.origin_port};
    keepalive 256; keepalive_requests 1000000000; keepalive_timeout 3600s;
  }}
  server {{
    listen 127.0.0.1:{place.port} backlog=4096{defer};
    listen 127.0.0.1:{place.tls_port} ssl http2;
    http2_max_concurrent_streams 256;
    location / {{
      proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffers 16 16k; {cached}
    }}
  }}
}}
""")
    return [binary, "-p", str(folder), "-e", f"{folder}/error.log", "-c", str(config)]


def haproxy(place, binary):
    use = ("  http-request cache-use c\n  http-response cache-store c\n" if place.cache else "")
    defer = " defer-accept" if place.workload == "conn-deferred" else ""
    config = place.write("haproxy.cfg", f"""global
  nbthread 1
  maxconn 8000
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  tune.h2.max-concurrent-streams 256
cache c
  total-max-size 1024
  max-object-size 200000
  max-age 86400
  process-vary off
defaults
  mode http
  no log
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  timeout http-request 1h
  http-reuse always
frontend f
  bind 127.0.0.1:{place.port} backlog 4096{defer}
  bind 127.0.0.1:{place.tls_port} ssl crt {place.both} alpn h2
{use}  default_backend o
backend o
  server s 127.0.0.1:{place.origin_port} pool-max-conn 512 pool-purge-delay 1h
""")
    return [binary, "-db", "-f", str(config)]


def h2o(place, binary):
    what = (f"file.dir: {place.web}" if place.cache
            else f"proxy.reverse.url: http://127.0.0.1:{place.origin_port}/")
    config = place.write("h2o.conf", f"""num-threads: 1
max-connections: 10000
user: root
pid-file: {place.folder}/pid
error-log: {place.folder}/error.log
http1-request-timeout: 3600
http2-idle-timeout: 3600
http2-max-concurrent-requests-per-connection: 256
file.send-compressed: OFF
file.mime.setdefaulttype: text/plain
proxy.timeout.keepalive: 3600000
proxy.timeout.io: 3600000
proxy.preserve-host: ON
compress: OFF
listen: {{ host: 127.0.0.1, port: {place.port} }}
listen:
  host: 127.0.0.1
  port: {place.tls_port}
  ssl: {{ certificate-file: {place.cert}, key-file: {place.key}, minimum-version: TLSv1.2 }}
hosts:
  default:
    paths:
      /: {{ {what} }}
""")
    return [binary, "-m", "worker", "-c", str(config)]


# Each record that a hit or a pass would write: the others log nothing either.
VARNISH_MASK = ",".join("-" + record for record in (
    "Begin End Link SessOpen SessClose ReqStart ReqMethod ReqURL ReqProtocol ReqHeader ReqUnset "
    "ReqAcct RespProtocol RespStatus RespReason RespHeader RespUnset VCL_call VCL_return VCL_use "
    "Timestamp Hit HitMiss HitPass BereqMethod BereqURL BereqProtocol BereqHeader BereqUnset "
    "BereqAcct BerespProtocol BerespStatus BerespReason BerespHeader BerespUnset BackendOpen "
    "BackendClose BackendStart Fetch_Body Storage Length TTL Filters").split())


def varnish(place, binary):
    how = "hash" if place.cache else "pass"
    vcl = place.write("v.vcl", f"""vcl 4.1;
backend o {{ .host = "127.0.0.1"; .port = "{place.origin_port}"; }}
sub vcl_recv {{ return ({how}); }}
""")
    (place.folder / "v").mkdir()
    return [binary, "-F", "-j", "none", "-n", f"{place.folder}/v", "-f", str(vcl),
            "-a", f"127.0.0.1:{place.port}", "-T", f"127.0.0.1:{place.aux_port}", "-S", "none",
            "-s", "malloc,2g", "-t", "86400", "-p", "thread_pools=1", "-p", "thread_pool_min=300",
            "-p", "thread_pool_max=1000", "-p", "timeout_idle=3600",
            "-p", "backend_idle_timeout=3600", "-p", f"vsl_mask={VARNISH_MASK}"]


def trafficserver(place, binary):
    folder, etc = place.folder, place.folder / "etc"
    real = os.path.dirname(shutil.which(binary))
    for name in ("etc", "cache", "run", "log", "share"):
        (folder / name).mkdir()
    shutil.copytree("/etc/trafficserver/body_factory", etc / "body_factory")
    shutil.copy("/etc/trafficserver/ip_allow.yaml", etc)
    roots = {"prefix": folder, "exec_prefix": folder, "bindir": real, "sbindir": real,
             "sysconfdir": etc, "datadir": f"{folder}/share", "libdir": "/usr/lib/trafficserver",
             "libexecdir": "/usr/lib/trafficserver/modules", "localstatedir": folder,
             "runtimedir": f"{folder}/run", "logdir": f"{folder}/log",
             "cachedir": f"{folder}/cache"}
    root = place.write("runroot.yaml", "".join(f"{key}: {value}\n" for key, value in roots.items()))
    place.write("etc/remap.config", f"map / http://127.0.0.1:{place.origin_port}/\n")
    place.write("etc/storage.config", f"{folder}/cache 2G\n")
    place.write("etc/ssl_multicert.config",
                f"dest_ip=* ssl_cert_name={place.cert} ssl_key_name={place.key}\n")
    for name in ("cache", "parent", "hosting", "plugin", "splitdns", "volume", "socks"):
        place.write(f"etc/{name}.config", "")
    for name in ("logging", "sni", "strategies"):
        place.write(f"etc/{name}.yaml", "")
    ports = (f"{place.port}:ip-in=127.0.0.1 "
             f"{place.tls_port}:ip-in=127.0.0.1:ssl:proto=http2;http")
    records = f"""exec_thread.autoconfig INT 0
exec_thread.limit INT 1
exec_thread.affinity INT 0
accept_threads INT 0
task_threads INT 1
cache.threads_per_disk INT 1
admin.user_id STRING #-1
http.server_ports STRING {ports}
ssl.server.cert.path STRING /
ssl.server.private_key.path STRING /
ssl.server.multicert.filename STRING ssl_multicert.config
ssl.server.honor_cipher_order INT 1
ssl.server.TLSv1_3.cipher_suites STRING TLS_AES_128_GCM_SHA256
ssl.TLSv1_2 INT 0
http.cache.http INT {int(place.cache)}
http.cache.required_headers INT 0
http.insert_response_via_str INT 0
http.insert_request_via_str INT 0
http.insert_age_in_response INT 1
http.keep_alive_no_activity_timeout_in INT 3600
http.keep_alive_no_activity_timeout_out INT 3600
http.transaction_no_activity_timeout_in INT 3600
http.server_session_sharing.pool STRING thread
http.server_session_sharing.match STRING ip
http2.max_concurrent_streams_in INT 256
http2.initial_window_size_in INT 1048576
cache.ram_cache.size INT 2G
cache.ram_cache_cutoff INT 1M
cache.ram_cache.algorithm INT 1
cache.ram_cache.use_seen_filter INT 0
cache.min_average_object_size INT 4000
net.listen_backlog INT 4096
net.connections_throttle INT {min(descriptors(), 20000)}
log.logging_enabled INT 0
url_remap.pristine_host_hdr INT 1
url_remap.remap_required INT 1
hostdb.host_file.path STRING /etc/hosts
hostdb.storage_size INT 1M
crash_log_helper STRING
"""
    place.write("etc/records.config",
                "".join(f"CONFIG proxy.config.{line}\n" for line in records.splitlines()))
    return [binary, f"--run-root={root}"]


def squid(place, binary):
    deny = "" if place.cache else "cache deny all"
    (place.folder / "q").mkdir()
    (place.folder / "q").chmod(0o777)
    config = place.write("squid.conf", f"""http_port 127.0.0.1:{place.port} accel \
defaultsite=localhost no-vhost
cache_peer 127.0.0.1 parent {place.origin_port} 0 no-query no-digest originserver name=o
cache_peer_access o allow all
http_access allow all
never_direct allow all
{deny}
cache_mem 2048 MB
maximum_object_size_in_memory 1 MB
memory_cache_mode always
memory_replacement_policy lru
memory_pools on
access_log none
cache_store_log none
cache_log {place.folder}/cache.log
pid_filename {place.folder}/q/pid
coredump_dir {place.folder}/q
netdb_filename none
pinger_enable off
icp_port 0
via off
forwarded_for delete
visible_hostname bench
client_persistent_connections on
server_persistent_connections on
client_idle_pconn_timeout 1 hour
server_idle_pconn_timeout 1 hour
max_filedescriptors {min(descriptors(), 20000)}
shutdown_lifetime 0 seconds
collapsed_forwarding off
buffered_logs on
""")
    return [binary, "-N", "-f", str(config)]


def caddy(place, binary):
    what = (f"root * {place.web}\n  file_server" if place.cache
            else f"""reverse_proxy 127.0.0.1:{place.origin_port} {{
    transport http {{
      keepalive 1h
      keepalive_idle_conns 512
      keepalive_idle_conns_per_host 512
      compression off
    }}
  }}""")
    config = place.write("Caddyfile", f"""{{
  admin off
  auto_https off
  log {{
    output discard
  }}
  servers {{
    protocols h1 h2
  }}
}}
(site) {{
  bind 127.0.0.1
  {what}
}}
http://:{place.port} {{
  import site
}}
https://127.0.0.1:{place.tls_port} {{
  tls {place.cert} {place.key}
  import site
}}
""")
    home = f"HOME={place.folder}", f"XDG_DATA_HOME={place.folder}"
    return ["env", *home, f"XDG_CONFIG_HOME={place.folder}", "GOMAXPROCS=1", "GOGC=400",
            binary, "run", "--adapter", "caddyfile", "--config", str(config)]


def floor(engine):
    def start(place, binary):
        size = "65536" if place.workload == "hit-64k" else "1024"
        how = "relay" if place.workload == "proxy-1k" else engine
        return [binary, how, str(place.port), size, str(place.origin_port)]
    return start


FRESHET = os.environ.get("FRESHET", str(ROOT / "build/freshet"))
FLOOR = str(ROOT / "build/bench/floor")
NO_TLS = tuple(name for name in EVERY if name not in OVER_TLS)
PEERS = [
    Peer("freshet", "cache", FRESHET, freshet, (["version"], r"(\S+)$")),
    Peer("nginx", "cache", "nginx", nginx, (["-v"], r"nginx/(\S+)")),
    Peer("haproxy", "cache", "haproxy", haproxy, (["-v"], r"version (\S+)")),
    Peer("h2o", "static", "h2o", h2o, (["-v"], r"h2o version (\S+)")),
    Peer("varnish", "cache", "varnishd", varnish, (["-V"], r"varnish-([\d.]+)"), NO_TLS),
    Peer("trafficserver", "cache", "traffic_server", trafficserver,
         (["--version"], r"Traffic Server ([\d.]+)")),
    Peer("squid", "cache", "squid", squid, (["-v"], r"Version (\S+)"), NO_TLS),
    Peer("caddy", "static", "caddy", caddy, (["version"], r"(\S+)")),
    Peer("floor-epoll", "floor", FLOOR, floor("epoll"), (["-"], r"(-)"), NO_TLS),
    Peer("floor-sendfile", "floor", FLOOR, floor("sendfile"), (["-"], r"(-)"), ("hit-64k",)),
]
if "FRESHET_OTHER" in os.environ:  # another build, in a row of its own
    PEERS.insert(1, Peer("other", "cache", os.environ["FRESHET_OTHER"], freshet,
                         (["version"], r"(\S+)$")))
