#include "config/secrets.h"

#include "base/mem.h"
#include "os/file.h"

#include <stdlib.h>

struct route_secrets { char *password, *client_secret; };

struct secrets {
    const struct config *config;
    struct route_secrets *routes; /* by their places in the config */
};

void secret_free(char *secret)
{
    if (!secret)
        return;
    explicit_bzero(secret, strlen(secret));
    free(secret);
}

/* "credential:NAME" as a path; the caller's. */
static char *path_of(const char *file, struct error *error)
{
    struct buf path = {0};
    if (strncmp(file, "credential:", 11) != 0)
        return mem_copy_text(file);
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (!folder) {
        (void)error_set(error, "%s: systemd gave no credentials ($CREDENTIALS_DIRECTORY is not set)", file);
        return NULL;
    }
    buf_printf(&path, "%s/%s", folder, file + 11);
    return buf_take(&path);
}

static char *first_line(struct slice text, const char *path, struct error *error)
{
    struct slice line = slice_cut(&text, '\n');
    if (line.size && line.data[line.size - 1] == '\r')
        line.size--;
    for (size_t i = 0; i < line.size; i++) {
        if ((unsigned char)line.data[i] >= 0x20 && line.data[i] != 0x7f)
            continue;
        (void)error_set(error, "%s: a control byte in the first line", path);
        return NULL;
    }
    if (line.size)
        return slice_copy(line);
    (void)error_set(error, "%s: the secret was expected in the first line", path);
    return NULL;
}

char *secret_read(const char *file, struct error *error)
{
    struct buf text = {0};
    char *secret = NULL, *path = path_of(file, error);
    if (!path)
        return NULL;
    if (file_read_secret(path, "secret", SECRET_SIZE_MAX, &text, error))
        secret = first_line(buf_slice(&text), path, error);
    if (text.data)
        explicit_bzero(text.data, text.capacity);
    buf_finish(&text);
    free(path);
    return secret;
}

static bool read_one(const char *file, char **ret_secret, struct error *error)
{
    return !file || (*ret_secret = secret_read(file, error)) != NULL;
}

struct secrets *secrets_open(const struct config *config, struct error *error)
{
    struct secrets *secrets = mem_alloc(sizeof *secrets);
    secrets->config = config;
    secrets->routes = mem_alloc((config->route_count + 1) * sizeof *secrets->routes);
    for (size_t i = 0; i < config->route_count; i++) {
        const struct config_route *route = &config->routes[i];
        if (read_one(route->password_file, &secrets->routes[i].password, error)
            && read_one(route->oauth.client_secret_file, &secrets->routes[i].client_secret, error))
            continue;
        (void)error_prefix(error, "route \"%s\"", route->pattern);
        secrets_close(&secrets);
        return NULL;
    }
    return secrets;
}

void secrets_close(struct secrets **secrets)
{
    struct secrets *s = *secrets;
    if (!s)
        return;
    for (size_t i = 0; i < s->config->route_count; i++) {
        secret_free(s->routes[i].password);
        secret_free(s->routes[i].client_secret);
    }
    free(s->routes);
    free(s);
    *secrets = NULL;
}

const char *secrets_password(const struct secrets *secrets, const struct config_route *route)
{
    return secrets->routes[route - secrets->config->routes].password;
}

const char *secrets_client_secret(const struct secrets *secrets, const struct config_route *route)
{
    return secrets->routes[route - secrets->config->routes].client_secret;
}
