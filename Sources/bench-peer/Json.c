// The result: one JSON object on standard output.
#include <stdio.h>

#include "Peer.h"

static void text(const char *name, const char *value) {
    printf("\"%s\":\"", name);
    for (; *value; value++)
        if (*value == '"' || *value == '\\') printf("\\%c", *value);
        else if ((unsigned char)*value >= 32) putchar(*value);
    printf("\"");
}

static void histogram(const struct record *record, double ns_per_tick) {
    printf(",\"maximum_ns\":%.0f,\"histogram\":[", (double)record->maximum * ns_per_tick);
    const char *comma = "";
    for (unsigned i = 0; i < RECORD_BUCKETS; i++)
        if (record->bucket[i]) {
            printf("%s[%.2f,%llu]", comma, (double)record_value(i) * ns_per_tick, (unsigned long long)record->bucket[i]);
            comma = ",";
        }
    printf("]");
}

static void sides(void) {
    static const char *const names[2] = {"server", "client"};
    for (int i = 0; i < 2; i++) {
        const struct side *side = &control->side[i];
        printf(",\"%s\":{\"cpu_ns\":%llu", names[i], (unsigned long long)side->cpu_ns);
        if (side->rss_after)
            printf(",\"rss_before\":%llu,\"rss_after\":%llu,\"pss_before\":%llu,\"pss_after\":%llu",
                (unsigned long long)side->rss_before, (unsigned long long)side->rss_after,
                (unsigned long long)side->pss_before, (unsigned long long)side->pss_after);
        printf("}");
    }
}

void json_print(int failed) {
    printf("{");
    text("pattern", options.pattern);
    for (int i = 0; i < 2; i++)
        if (control->side[i].skipped[0]) {
            printf(",");
            text("skipped", control->side[i].skipped);
            printf("}\n");
            return;
        }
    if (failed) {
        const char *server = control->side[SERVER].failure, *client = control->side[CLIENT].failure;
        char both[600] = "a side ended without a result";
        if (server[0] || client[0])
            snprintf(both, sizeof both, "%s%s%s%s%s", server[0] ? "server: " : "", server, server[0] && client[0] ? "; " : "",
                client[0] ? "client: " : "", client);
        printf(",");
        text("error", both);
        printf("}\n");
        return;
    }
    double ns_per_tick = control->ticks ? (double)control->elapsed_ns / (double)control->ticks : 1;
    printf(",\"messages\":%llu,\"bytes\":%llu,\"elapsed_ns\":%llu", (unsigned long long)control->messages,
        (unsigned long long)control->bytes, (unsigned long long)control->elapsed_ns);
    if (control->sent) printf(",\"sent\":%llu", (unsigned long long)control->sent);
    sides();
    if (control->cost_ns > 0) printf(",\"cost_ns\":%.3f", control->cost_ns);
    if (control->record.total) histogram(&control->record, ns_per_tick);
    printf("}\n");
}
