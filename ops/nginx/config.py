#!/usr/bin/env python3
"""The nginx in front of the Command API: it parses HTTP, does TLS, limits, and speaks SCGI to the worker.

usage: config.py --folder DIR --socket PATH [--listen ADDRESS:PORT] [--certificate FILE --key FILE]
                 [--allow-plain-http] [--log FILE] [--documents DIR] > nginx.conf

Without a certificate it listens on loopback alone; --allow-plain-http says that something else in front does the TLS.
Run it as `nginx -c nginx.conf -e stderr` by an account that may connect to the socket; DIR is for its pid file and
temporary files and must be writable by it. FILE gets a line for each request that nginx refuses by itself; rotate it.
The documents are openapi.json (contracts/) and docs.html (beside this file), served without a token. What nginx refuses
itself is problem+json like the worker's refusals (workers/command_api/problem.c), and no log holds a URL, a header or a
body.
"""
import argparse
import ipaddress
import json
import sys

# Status of nginx → (status that is answered, code, title, seconds of Retry-After).
REFUSALS = {
    400: (400, "validation_error", "The request can't be read.", 0),
    404: (404, "not_found", "There is no such thing.", 0),
    405: (405, "method_not_allowed", "The path does not have this method.", 0),
    408: (400, "validation_error", "The request can't be read.", 0),
    411: (400, "validation_error", "The request can't be read.", 0),
    413: (413, "payload_too_large", "The body is too large.", 0),
    414: (431, "headers_too_large", "The headers are too large.", 0),
    417: (400, "validation_error", "The request can't be read.", 0),
    421: (400, "validation_error", "The request can't be read.", 0),
    431: (431, "headers_too_large", "The headers are too large.", 0),
    494: (431, "headers_too_large", "The headers are too large.", 0),
    495: (400, "validation_error", "The request can't be read.", 0),
    496: (400, "validation_error", "The request can't be read.", 0),
    497: (400, "validation_error", "The request can't be read.", 0),
    500: (503, "retryable_upstream_error", "Something that it needs is not there now.", 5),
    501: (400, "validation_error", "The request can't be read.", 0),
    502: (503, "retryable_upstream_error", "Something that it needs is not there now.", 5),
    503: (503, "retryable_upstream_error", "Something that it needs is not there now.", 5),
    504: (504, "retryable_upstream_error", "No answer in time.", 5),
    505: (400, "validation_error", "The request can't be read.", 0),
}

MAIN = """\
# Written by ops/nginx/config.py.
daemon off;
pid %(folder)s/nginx.pid;
worker_processes 1;
worker_rlimit_nofile 4352;
# Its messages quote requests, from a socket that is gone (crit) to connections that have run out (alert): only what
# keeps it from starting.
error_log stderr emerg;
events {
    # A connection whose head is not whole costs a few kilobytes here and nothing behind, and goes after 5 s. Until then
    # it can't be told from a good one, and none is counted by address: behind a tunnel all have the same. So there is
    # room for many of them; how many calls go on at once is the worker's to say.
    worker_connections 4096;
}
http {
    default_type application/problem+json;
    server_tokens off;
    client_body_temp_path %(folder)s/tmp-body;
    scgi_temp_path %(folder)s/tmp-scgi;
    proxy_temp_path %(folder)s/tmp-proxy;
    fastcgi_temp_path %(folder)s/tmp-fastcgi;
    uwsgi_temp_path %(folder)s/tmp-uwsgi;

    # The id of a request is nginx's, so that no caller chooses what stands in logs and audit.
    map $request_id $uuid {
        "~^(?<a>.{8})(?<b>.{4})(?<c>.{4})(?<d>.{4})(?<e>.{12})$" "$a-$b-$c-$d-$e";
    }
    # A body of unknown length could trickle in for ever.
    map "$request_method $content_length" $unmeasured {
        "~^(POST|PUT|PATCH) $" 1;
        default 0;
    }
    map $upstream_status $refused_here {
        "" 1;
        default 0;
    }
    log_format refusals escape=json '{"ts":"$time_iso8601","worker":"nginx","msg":"refused","request_id":"$uuid",'
                                    '"peer":"$remote_addr","status":$status,"bytes":$bytes_sent}';
    access_log %(log)s;

    # A head with a token and a small body come in with one read, and go on with one write.
    client_header_buffer_size 4k;
    large_client_header_buffers 1 16k;
    client_header_timeout 5s;
    client_body_timeout 15s;
    send_timeout 15s;
    keepalive_timeout 30s;
    lingering_time 5s;
    lingering_timeout 2s;
    reset_timedout_connection on;
    # Idempotency_Key is no spelling of Idempotency-Key: such fields are left out.
    ignore_invalid_headers on;
    underscores_in_headers off;
    merge_slashes off;
    client_max_body_size 256k;

    server {
        listen %(listen)s backlog=2048%(tls)s;
        server_name _;
%(certificate)s
%(headers)s
%(error_pages)s        error_page 405 = @methods;

        scgi_param SCGI 1;
        scgi_param REQUEST_METHOD $request_method;
        scgi_param REQUEST_URI $request_uri;
        scgi_param CONTENT_TYPE $content_type;
        scgi_param REMOTE_ADDR $remote_addr;
        scgi_param REQUEST_ID $uuid;
        # Without buffering, CONTENT_LENGTH is what of the body came with the head.
        scgi_param BODY_LENGTH $content_length;
        # The worker looks at the token before it reads a body, and has an absolute limit for it.
        scgi_request_buffering off;
        scgi_buffer_size 16k;
        scgi_buffers 16 64k;
        scgi_busy_buffers_size 128k;
        # What a caller reads slowly waits here, and not in one of the worker's places.
        scgi_max_temp_file_size 32m;
        scgi_connect_timeout 2s;
        scgi_send_timeout 20s;
        scgi_read_timeout 50s;
        scgi_next_upstream off;
        scgi_hide_header X-Request-Id;
        scgi_hide_header Cache-Control;
        scgi_hide_header X-Content-Type-Options;

        location / {
%(call)s        }
        location = /workflow/submit-stage6-decisions {
            client_max_body_size 1m;
%(call)s        }
        # What nginx refuses by its method alone (TRACE, CONNECT): the worker knows what the path has.
        location @methods {
            scgi_pass unix:%(socket)s;
        }
%(documents)s%(problems)s    }
}
"""

HEADERS = """\
            add_header X-Request-Id $uuid always;
            add_header Cache-Control no-store always;
            add_header X-Content-Type-Options nosniff always;
"""
# 400 also closes the connection: what stands behind a body of unknown length is nobody's next request.
CALL = """\
            if ($http_host = "") {
                return 400;
            }
            if ($http_transfer_encoding != "") {
                return 400;
            }
            if ($unmeasured) {
                return 400;
            }
            scgi_pass unix:%(socket)s;
"""
# One page to read: no script, nothing of another host.
POLICY = "; ".join(("default-src 'none'", "style-src 'unsafe-inline'", "base-uri 'none'", "form-action 'none'",
                    "frame-ancestors 'none'"))
DOCUMENTS = """\
        location = /openapi.json {
            default_type application/json;
            alias %(documents)s/openapi.json;
%(error_pages)s        }
        location = /docs {
            default_type "text/html; charset=utf-8";
%(headers)s\
            add_header Content-Security-Policy "%(policy)s" always;
            alias %(documents)s/docs.html;
%(error_pages)s        }
"""


def problem(status, code, title, retry_after):
    """The body of a refusal, as the worker writes it; nginx fills the id in."""
    return json.dumps({"type": f"urn:echora:problem:{code}", "instance": "urn:uuid:$uuid", "title": title,
                       "status": status, "detail": title, "code": code, "retryable": retry_after > 0,
                       "violations": []}, separators=(",", ":"))


def is_loopback(listen):
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def config(folder, socket, listen, certificate=None, key=None, allow_plain_http=False, log=None,
           documents=None):
    """The text of the configuration; ValueError when it would carry tokens in the clear."""
    if bool(certificate) != bool(key):
        raise ValueError("a certificate needs its key, and a key its certificate")
    if not certificate and not allow_plain_http and not is_loopback(listen):
        raise ValueError(f"{listen} is not loopback: give --certificate and --key, or --allow-plain-http")
    pages = {nginx: f"        error_page {nginx} ={row[0]} /_problem/{nginx};\n" for nginx, row in REFUSALS.items()}
    problems = ""
    for nginx, (status, code, title, retry_after) in REFUSALS.items():
        text = problem(status, code, title, retry_after).replace("'", "\\'")
        headers = HEADERS + (f"            add_header Retry-After {retry_after} always;\n" if retry_after else "")
        if nginx == 405:  # of the documents; the worker answers for calls
            headers += '            add_header Allow "GET, HEAD" always;\n'
        problems += (f"        location = /_problem/{nginx} {{\n            internal;\n{headers}"
                     f"            return {status} '{text}';\n        }}\n")
    tls = (f"        ssl_certificate {certificate};\n        ssl_certificate_key {key};\n"
           "        ssl_protocols TLSv1.2 TLSv1.3;\n        ssl_session_tickets off;\n") if certificate else ""
    shown = {"documents": documents, "headers": HEADERS, "policy": POLICY,
             "error_pages": "".join(f"    {page}" for page in pages.values())}
    served = DOCUMENTS % shown if documents else ""
    values = {"documents": served, "folder": folder, "socket": socket, "listen": listen,
              "tls": " ssl http2" if certificate else "",
              "log": f"{log} refusals if=$refused_here" if log else "off", "certificate": tls, "headers": HEADERS,
              "call": CALL % {"socket": socket}, "problems": problems,
              "error_pages": "".join(page for nginx, page in pages.items() if nginx != 405)}
    return MAIN % values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--listen", default="127.0.0.1:8080")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--allow-plain-http", action="store_true")
    parser.add_argument("--log")
    parser.add_argument("--documents")
    args = parser.parse_args()
    try:
        print(config(**vars(args)), end="")
    except ValueError as e:
        parser.error(str(e))
    return 0


if __name__ == "__main__":
    sys.exit(main())
