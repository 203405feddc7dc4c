/* dev-issuer: the HTTP side of ops/cli/dev_issuer.h, on loopback alone. One thread of
 * libmicrohttpd. */
// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "events/base/clock.h"
#include "ops/cli/dev_issuer.h"
#include "ops/cli/output.h"
#include "ops/cli/verbs.h"
#include "workers/command_api/plain_url.h"

#define CONNECTIONS_MAX 64
#define CONNECTION_TIMEOUT_S 10
#define LOOK_MS 1000
#define ANSWER_MAX ((size_t)16 << 10)
#define URL_MAX 128

struct dev_issuer_options {
    const char *listen, *secrets_file, *audience;
};

#define AT(member) offsetof(struct dev_issuer_options, member)
static const struct option dev_issuer_options[] = {
    {.name = "listen",
     .kind = OPT_STRING,
     .offset = AT(listen),
     .default_text = "127.0.0.1:8090",
     .placeholder = "ADDRESS:PORT",
     .help = "Where it listens, numeric and on loopback; port 0 takes any free one.",
     .not_in_environment = true},
    {.name = "secrets-file",
     .kind = OPT_STRING,
     .offset = AT(secrets_file),
     .default_text = "",
     .placeholder = "FILE",
     .help = "Lines of a client and its secret with a blank between; required."},
    {.name = "audience",
     .kind = OPT_STRING,
     .offset = AT(audience),
     .default_text = "echora-command-api",
     .placeholder = "NAME",
     .help = "The aud of its tokens."},
};
#undef AT

/* A body on its way. */
struct incoming {
    struct buf body;
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, struct buf *body,
                              const char *name, const char *value)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(
        body->n, body->p != NULL ? body->p : (void *)"", MHD_RESPMEM_MUST_COPY);
    enum MHD_Result rc = MHD_NO;

    buf_deinit(body);
    if (r == NULL)
        return MHD_NO;
    MHD_add_response_header(r, "Content-Type", "application/json");
    MHD_add_response_header(r, "Cache-Control", "no-store");
    if (name != NULL)
        MHD_add_response_header(r, name, value);
    rc = MHD_queue_response(connection, status, r);
    MHD_destroy_response(r);
    return rc;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *error,
                              const char *name, const char *value)
{
    struct buf out = {.max = ANSWER_MAX};

    buf_printf(&out, "{\"error\":\"%s\"}\n", error);
    return answer(connection, status, &out, name, value);
}

static struct view header_of(struct MHD_Connection *connection, const char *name)
{
    return view_of(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name));
}

static enum MHD_Result give_token(const struct dev_issuer *issuer,
                                  struct MHD_Connection *connection, const struct buf *form)
{
    struct buf out = {.max = ANSWER_MAX};

    if (buf_failed(form))
        return refuse(connection, MHD_HTTP_CONTENT_TOO_LARGE, "invalid_request", NULL, NULL);
    const unsigned status = dev_issuer_token(issuer, header_of(connection, "Authorization"),
                                             header_of(connection, "Content-Type"), buf_view(form),
                                             wall_us() / 1000000, &out);
    return answer(connection, status, &out,
                  status == MHD_HTTP_UNAUTHORIZED ? "WWW-Authenticate" : NULL,
                  "Basic realm=\"echora dev-issuer\"");
}

/* The second and later calls of a request; the first makes *state. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    const struct dev_issuer *issuer = arg;
    struct incoming *in = *state;

    if (in == NULL) {
        in = calloc(1, sizeof(*in));
        if (in != NULL)
            buf_init(&in->body, DEV_FORM_MAX);
        *state = in;
        return in != NULL ? MHD_YES : MHD_NO;
    }
    if (*upload_size > 0) {
        buf_append(&in->body, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    const bool token = strcmp(url, "/oauth2/token") == 0, keys = strcmp(url, "/jwks") == 0;
    if (!token && !keys && strcmp(url, "/.well-known/oauth-authorization-server") != 0)
        return refuse(connection, MHD_HTTP_NOT_FOUND, "not_found", NULL, NULL);
    if (strcmp(method, token ? "POST" : "GET") != 0)
        return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "invalid_request", "Allow",
                      token ? "POST" : "GET");
    if (token)
        return give_token(issuer, connection, &in->body);
    struct buf out = {.max = ANSWER_MAX};
    if (keys)
        dev_key_publish(issuer->key, &out);
    else
        dev_issuer_describe(issuer, &out);
    return answer(connection, MHD_HTTP_OK, &out, NULL, NULL);
}

static void on_end(void *arg, struct MHD_Connection *connection, void **state,
                   enum MHD_RequestTerminationCode code)
{
    struct incoming *in = *state;

    if (in != NULL)
        buf_deinit(&in->body);
    free(in);
    *state = NULL;
}

/* "127.0.0.1:8090" or "[::1]:8090"; *ret_host ends where the port begins. */
static bool read_listen(const char *text, struct sockaddr_storage *ret, socklen_t *ret_n,
                        struct view *ret_host)
{
    const char *colon = strrchr(text, ':');
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
    char name[INET6_ADDRSTRLEN];
    int64_t port;

    if (colon == NULL || !view_to_i64(view_of(colon + 1), 0, 65535, &port))
        return false;
    *ret_host = (struct view){text, (size_t)(colon - text)};
    const bool brackets = ret_host->n > 2 && text[0] == '[' && colon[-1] == ']';
    const struct view bare = {text + brackets, ret_host->n - 2 * (size_t)brackets};
    if (!address_is_loopback(bare))
        return false;
    (void)snprintf(name, sizeof(name), "%.*s", VIEW_ARG(bare));
    *ret = (struct sockaddr_storage){0};
    *ret_n = brackets ? sizeof(*v6) : sizeof(*v4);
    if (brackets) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, name, &v6->sin6_addr) == 1;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, name, &v4->sin_addr) == 1;
}

/* A socket of our own, so that the issuer knows its port before it answers anybody. Writes
 * "http://ADDRESS:PORT". */
static int open_socket(const char *listen_on, char url[static URL_MAX], struct err *err)
{
    struct sockaddr_storage address;
    struct view host;
    socklen_t n;

    if (!read_listen(listen_on, &address, &n, &host))
        return cli_usage(err, "--listen must be ADDRESS:PORT with a numeric address of loopback");
    const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) != 0 ||
        bind(fd, (struct sockaddr *)&address, n) != 0 || listen(fd, CONNECTIONS_MAX) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &n) != 0) {
        const int reason = errno;
        if (fd >= 0)
            (void)close(fd);
        return err_set(err, ERR_FATAL, "listen", "start the issuer", "cannot listen on %s: %s",
                       listen_on, strerrordesc_np(reason));
    }
    /* The port lies at the same place in both kinds of address. */
    (void)snprintf(url, URL_MAX, "http://%.*s:%u", VIEW_ARG(host),
                   ntohs(((struct sockaddr_in *)&address)->sin_port));
    return fd;
}

/* Signals are for the main thread: the new one inherits a full mask. Takes the socket over. */
static struct MHD_Daemon *start(int fd, struct dev_issuer *issuer)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL, 0, NULL, NULL, on_request, issuer,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)CONNECTION_TIMEOUT_S, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return daemon;
}

static int serve(struct cli *cli, struct dev_issuer *issuer, struct err *err)
{
    const struct dev_issuer_options *o = cli->options;
    char url[URL_MAX];
    const int fd = open_socket(o->listen, url, err);

    if (fd < 0)
        return -1;
    issuer->issuer = url;
    struct MHD_Daemon *daemon = start(fd, issuer);
    if (daemon == NULL)
        return err_set(err, ERR_FATAL, "listen", "start the issuer", "no thread can be made");
    printf(cli->config.json
               ? "{\"issuer\":\"%s\",\"jwks\":\"%s/jwks\",\"tokens\":\"%s/oauth2/token\"}\n"
               : "issuer %s\njwks %s/jwks\ntokens %s/oauth2/token\n",
           url, url, url);
    (void)fflush(stdout);
    while (wait_ms(LOOK_MS))
        continue;
    MHD_stop_daemon(daemon);
    return CLI_OK;
}

static int run_dev_issuer(struct cli *cli, struct err *err)
{
    const struct dev_issuer_options *o = cli->options;
    struct dev_secrets *secrets;

    if (*o->secrets_file == '\0')
        return cli_usage(err, "--secrets-file is required");
    if (dev_secrets_read(o->secrets_file, &secrets, err) < 0)
        return -1;
    struct dev_key *key = dev_key_new();
    struct dev_issuer issuer = {
        .issuer = "", .audience = o->audience, .key = key, .secrets = secrets};
    const int rc = key != NULL ? serve(cli, &issuer, err)
                               : err_set(err, ERR_RETRY, "no-memory", "make a key", "none is made");
    (void)dev_key_free(key);
    (void)dev_secrets_free(secrets);
    return rc;
}

const struct verb verb_dev_issuer = {
    .name = "dev-issuer",
    .args = "",
    .summary = "issues access tokens for the Command API, on loopback, for development",
    .details =
        "OAuth2 client credentials at POST /oauth2/token (client and secret by Basic or in the "
        "form), its\nkey at /jwks, metadata at /.well-known/oauth-authorization-server. The key is "
        "made anew at each\nstart, tokens last ten minutes. The Command API takes them with --dev. "
        "Ends with Ctrl-C.",
    .example = "echora dev-issuer --secrets-file secrets\n"
               "curl -s -u n8n:SECRET -d grant_type=client_credentials "
               "http://127.0.0.1:8090/oauth2/token",
    .options = dev_issuer_options,
    .n_options = ARRAY_LEN(dev_issuer_options),
    .options_size = sizeof(struct dev_issuer_options),
    .run = run_dev_issuer,
};
