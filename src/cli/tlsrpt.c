/* mailroot tlsrpt: what is counted of a day's connections, as it stands in the report of each domain (RFC 8460 4.4). */
#include "cli/command.h"

#include "os/clock.h"
#include "outcome/tlsrpt.h"

#include <stdio.h>
#include <unistd.h>

static void print_domain(const char *domain, const json_t *policies)
{
    const json_t *entry;
    size_t i;
    json_array_foreach((json_t *)(uintptr_t)policies, i, entry) {
        const json_t *summary = json_object_get(entry, "summary"), *detail;
        size_t k;
        printf("%-40s %-16s %lld secured, %lld failed\n", domain, json_string_value(json_object_get(json_object_get(entry, "policy"), "policy-type")),
               (long long)json_integer_value(json_object_get(summary, "total-successful-session-count")),
               (long long)json_integer_value(json_object_get(summary, "total-failure-session-count")));
        json_array_foreach(json_object_get(entry, "failure-details"), k, detail) {
            const char *host = json_string_value(json_object_get(detail, "receiving-mx-hostname"));
            const char *reason = json_string_value(json_object_get(detail, "failure-reason-code"));
            printf("    %lld x %s%s%s%s%s\n", (long long)json_integer_value(json_object_get(detail, "failed-session-count")),
                   json_string_value(json_object_get(detail, "result-type")), host ? " at " : "", host ? host : "", reason ? ": " : "",
                   reason ? reason : "");
        }
    }
}

static void print_report(const struct config *config, const char *domain, const json_t *policies, const char *day)
{
    struct buf text = {0};
    tlsrpt_compose(config, domain, policies, day, "not-sent-yet", &text);
    (void)fputs(buf_text(&text), stdout);
    buf_finish(&text);
}

int command_tlsrpt(int argc, char **argv)
{
    struct command_options options;
    struct error error;
    char queue_dir[4096], day[64];
    const char *domain = NULL;
    int code = EX_OK;
    command_parse(&argc, argv, &options);
    tlsrpt_day(clock_wall_ms(), day);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--day") == 0 && i + 1 < argc && strlen(argv[i + 1]) == 10)
            (void)snprintf(day, sizeof day, "%s", argv[++i]);
        else if (argv[i][0] == '-' || domain)
            return command_fail("tlsrpt", EX_USAGE, "%s: --day YYYY-MM-DD and a domain were expected, or nothing", argv[i]);
        else
            domain = argv[i];
    }
    struct config *config = command_config(&options);
    (void)snprintf(queue_dir, sizeof queue_dir, "%s/Queue", config->root);
    json_t *domains = tlsrpt_read(queue_dir, day, &error), *policies;
    if (domain && !(policies = json_object_get(domains, domain)))
        code = command_fail("tlsrpt", EX_NOINPUT, "%s: nothing was counted on %s", domain, day);
    else if (domain)
        print_report(config, domain, policies, day);
    else if (!domains)
        code = command_fail("tlsrpt", EX_NOINPUT, "%s%s", error.text, config->tlsrpt.is_on ? "" : "; tlsrpt.enabled is not set");
    else if (options.is_json)
        code = json_dumpf(domains, stdout, JSON_INDENT(2)) == 0 && putchar('\n') ? EX_OK : EX_IOERR;
    else
        json_object_foreach(domains, domain, policies)
            print_domain(domain, policies);
    json_decref(domains);
    config_destroy(&config);
    return code;
}
