// SPDX-License-Identifier: MIT
/*
 * The settings that every daemon has: the rows, and what follows from running alone or together.
 * Start-up only, main thread.
 */
#include "common/err.h"
#include "common/log.h"
#include "common/random.h"
#include "common/svc_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROW(kind, variable, member, def, text)                                                     \
    .name = (variable), .type = CONFIG_##kind, .offset = offsetof(struct svc_settings, member),    \
    .fallback = (def), .help = (text)

static const struct config_row rows[] = {
    {ROW(CHOICE, "MODE", mode, "debug", "debug or release; release refuses the default secret"),
     .choices = "debug|release"},
    {ROW(STRING, "BIND", bind, "",
         "address to listen on; default 127.0.0.1 standalone, 0.0.0.0 in the suite")},
    {ROW(STRING, "INSTANCE_ID", instance_id, "",
         "name of this instance, stable over restarts; default made from the host name")},
    {ROW(STRING, "DATA_DIR", data_dir, "./var",
         "standalone: folder of the SQLite files; ':memory:' keeps nothing")},
    {ROW(STRING, "DATABASE_URL", database_url, "",
         "mysql://user:password@host:port/schema or sqlite:path"),
     .secret = true},
    {ROW(STRING, "KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap, "", "host:port[,host:port...]")},
    {ROW(STRING, "KAFKA_TOPIC_PREFIX", kafka_prefix, "chat.",
         "what every topic's name begins with")},
    {ROW(INT, "KAFKA_PARTITIONS", kafka_partitions, "12",
         "partitions of each topic, fixed for life"),
     .min = 1, .max = 10000},
    {ROW(INT, "KAFKA_REPLICATION_FACTOR", kafka_replication, "1", "copies of each new topic"),
     .min = 1, .max = 9},
    {ROW(STRING, "KAFKA_SECURITY_PROTOCOL", kafka_security_protocol, "",
         "plaintext, ssl, sasl_plaintext or sasl_ssl")},
    {ROW(STRING, "KAFKA_SASL_MECHANISM", kafka_sasl_mechanism, "", "PLAIN, SCRAM-SHA-256, ...")},
    {ROW(STRING, "KAFKA_SASL_USERNAME", kafka_sasl_username, "", "SASL user")},
    {ROW(STRING, "KAFKA_SASL_PASSWORD", kafka_sasl_password, "", "SASL password"), .secret = true},
    {ROW(STRING, "KAFKA_SSL_CA_FILE", kafka_ssl_ca_file, "", "PEM file that verifies the brokers")},
    {ROW(STRING, "JWT_SECRET", jwt_secret, "",
         "HS256 secret, at least 32 bytes; standalone makes one in DATA_DIR"),
     .secret = true},
    {ROW(STRING, "JWT_PRIVATE_KEY_FILE", jwt_private_key_file, "",
         "PEM file to sign with (RS256 or ES256) instead of the secret; earlier keys may stand "
         "behind the newest: refresh tokens of theirs stay good")},
    {ROW(STRING, "JWT_PUBLIC_KEY_FILE", jwt_public_key_file, "",
         "PEM files to verify with, comma-separated; the first belongs to the private key")},
    {ROW(INT, "ACCESS_TOKEN_SECONDS", access_token_seconds, "900", "life of an access token"),
     .min = 5, .max = 86400},
    {ROW(INT, "REFRESH_TOKEN_SECONDS", refresh_token_seconds, "2592000", "life of a refresh token"),
     .min = 60, .max = 31536000},
    {ROW(RATE, "RATE_LIMIT_AUTH", rate_auth, "60/60",
         "register, login and refresh per address, count/seconds")},
    {ROW(RATE, "RATE_LIMIT_USER", rate_user, "600/60", "requests per user")},
    {ROW(RATE, "RATE_LIMIT_FRAMES", rate_frames, "30/1", "frames per socket")},
    {ROW(STRING, "ADMIN_BIND", admin_bind, "", "address of the admin port; default as BIND")},
    {ROW(INT, "ADMIN_PORT", admin_port, "-1",
         "port of /metrics, /healthz and /readyz; 0 takes a free one; -1: the daemon's default"),
     .min = -1, .max = 65535},
    {ROW(INT, "DRAIN_SECONDS", drain_seconds, "10", "how long a stop may take"), .min = 1,
     .max = 3600},
    {ROW(CHOICE, "LOG_LEVEL", log_level, "info", "debug, info, warn or error"),
     .choices = "debug|info|warn|error"},
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static int say(char *problem, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int say(char *problem, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(problem, size, format, args);
    va_end(args);
    return ERR_INVALID;
}

static char *print_new(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *print_new(const char *format, ...)
{
    char *s = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&s, format, args) < 0) {
        abort();
    }
    va_end(args);
    return s;
}

/* In a container process 1 the host name is the instance's alone; elsewhere the pid is added. */
static const char *instance_default(void)
{
    char host[65] = "localhost";
    gethostname(host, sizeof(host) - 1);
    return getpid() == 1 ? print_new("%s", host) : print_new("%s-%d", host, (int)getpid());
}

static bool instance_valid(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return s[n] == '\0' && n > 0 && n <= 100;
}

/* ---- The secret ---- */

static int read_secret(const char *path, const char **secret_out, char *problem, size_t size)
{
    char text[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0) {
        close(fd);
    }
    if (n < 0) {
        return say(problem, size, "the secret %s cannot be read: %s", path, strerror(errno));
    }
    text[n] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    *secret_out = print_new("%s", text);
    return 0;
}

/* Standalone: made at the first start, kept in DATA_DIR, readable by its owner only. */
static int kept_secret(const char *data_dir, const char **secret_out, char *problem, size_t size)
{
    static char made[65]; /* one for all services of the process */
    if (strcmp(data_dir, ":memory:") == 0) {
        if (made[0] == '\0') {
            random_hex(made, 32);
        }
        *secret_out = made;
        return 0;
    }
    char *path = print_new("%s/jwt.secret", data_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        random_hex(made, 32);
        ssize_t n = write(fd, made, 64);
        int failed = fsync(fd);
        close(fd);
        if (n != 64 || failed != 0) {
            return say(problem, size, "the secret %s cannot be written: %s", path, strerror(errno));
        }
    } else if (errno != EEXIST) {
        return say(problem, size, "the secret %s cannot be made: %s", path, strerror(errno));
    }
    int err = read_secret(path, secret_out, problem, size);
    free(path);
    return err;
}

static int settle_secret(const struct svc *svc, bool standalone, struct svc_settings *s,
                         char *problem, size_t size)
{
    bool keys = s->jwt_private_key_file[0] != '\0' || s->jwt_public_key_file[0] != '\0';
    if (!svc->tokens) {
        return 0;
    }
    if (keys && s->jwt_secret[0] != '\0') {
        return say(problem, size, "JWT_SECRET and the JWT key files cannot both be set");
    }
    if (keys && s->jwt_public_key_file[0] == '\0') {
        return say(problem, size,
                   "JWT_PUBLIC_KEY_FILE must be set too when JWT_PRIVATE_KEY_FILE is");
    }
    if (keys) {
        return 0;
    }
    if (s->jwt_secret[0] == '\0' && standalone) {
        return kept_secret(s->data_dir, &s->jwt_secret, problem, size);
    }
    if (s->jwt_secret[0] == '\0') {
        s->jwt_secret = SVC_DEFAULT_JWT_SECRET;
    }
    if (strcmp(s->mode, "release") == 0 && strcmp(s->jwt_secret, SVC_DEFAULT_JWT_SECRET) == 0) {
        return say(problem, size,
                   "JWT_SECRET must be set to a secret of your own when MODE is release");
    }
    if (strcmp(s->jwt_secret, SVC_DEFAULT_JWT_SECRET) == 0) {
        log_warn("JWT_SECRET is not set: whoever knows this program can make tokens", "mode=%s",
                 s->mode);
    }
    return 0;
}

/* ---- What depends on the way of running ---- */

static int make_data_dir(const char *dir, char *problem, size_t size)
{
    if (strcmp(dir, ":memory:") != 0 && mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return say(problem, size, "DATA_DIR %s cannot be made: %s", dir, strerror(errno));
    }
    return 0;
}

static int settle_standalone(const struct svc *svc, struct svc_settings *s, char *problem,
                             size_t size)
{
    static bool told;
    if (!told && (s->kafka_bootstrap[0] != '\0' || s->database_url[0] != '\0')) {
        log_warn("standalone does not use KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL", "data_dir=%s",
                 LOG_Q(s->data_dir));
        told = true;
    }
    s->kafka_bootstrap = "";
    if (s->bind[0] == '\0') {
        s->bind = "127.0.0.1";
    }
    int err = make_data_dir(s->data_dir, problem, size);
    if (err == 0 && svc->schema_name != NULL) {
        s->database_url = strcmp(s->data_dir, ":memory:") == 0
                              ? print_new("sqlite::memory:%s", svc->schema_name)
                              : print_new("sqlite:%s/%s.db", s->data_dir, svc->schema_name);
    }
    return err;
}

static int settle_suite(const struct svc *svc, struct svc_settings *s, char *problem, size_t size)
{
    if (s->kafka_bootstrap[0] == '\0') {
        return say(problem, size, "KAFKA_BOOTSTRAP_SERVERS must be set (host:port[,host:port...])");
    }
    if (svc->schema_name != NULL && s->database_url[0] == '\0') {
        return say(problem, size,
                   "DATABASE_URL must be set (mysql://user:password@host:port/%s or sqlite:path)",
                   svc->schema_name);
    }
    if (s->bind[0] == '\0') {
        s->bind = "0.0.0.0";
    }
    return 0;
}

int svc_settings_load(const struct svc *svc, bool standalone, struct svc_settings *s, void *own,
                      char *problem, size_t size)
{
    int err = config_load(rows, ROW_COUNT, s, problem, size);
    if (err == 0 && svc->setting_count > 0) {
        err = config_load(svc->settings, svc->setting_count, own, problem, size);
    }
    if (err != 0) {
        return err;
    }
    if (s->instance_id[0] == '\0') {
        s->instance_id = instance_default();
    }
    if (!instance_valid(s->instance_id)) {
        return say(problem, size,
                   "INSTANCE_ID may have 1 to 100 letters, digits, dots, dashes and underscores");
    }
    if (s->admin_port < 0) {
        s->admin_port = svc->default_admin_port;
    }
    err = standalone ? settle_standalone(svc, s, problem, size)
                     : settle_suite(svc, s, problem, size);
    if (s->admin_bind[0] == '\0') {
        s->admin_bind = s->bind;
    }
    if (err == 0) {
        err = settle_secret(svc, standalone, s, problem, size);
    }
    return err == 0 && svc->check != NULL ? svc->check(own, standalone, problem, size) : err;
}

void svc_settings_help(const char *program, const struct svc *const *services, size_t n)
{
    printf("usage: %s [--help | --version]\n\n", program);
    for (size_t i = 0; i < n; i++) {
        printf("%s: %s\n", services[i]->name, services[i]->about);
    }
    printf("\nSettings are environment variables:\n");
    config_help(stdout, rows, ROW_COUNT);
    for (size_t i = 0; i < n; i++) {
        if (services[i]->setting_count > 0) {
            printf("\n%s:\n", services[i]->name);
            config_help(stdout, services[i]->settings, services[i]->setting_count);
        }
    }
}
