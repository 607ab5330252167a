// Comparing two transcripts.
#include "suite.h"

typedef struct lines { char **line; int count; char *text; } lines;

static lines split(const char *text) {
    lines l = {.text = strdup(text)};
    for (char *at = l.text; *at;) {
        l.line = realloc(l.line, (l.count + 1) * sizeof *l.line);
        l.line[l.count++] = at;
        char *end = strchr(at, '\n');
        if (!end) break;
        *end = 0;
        at = end + 1;
    }
    return l;
}

static void release(lines *l) {
    free(l->line);
    free(l->text);
}

/// Length of "[tag]" at the start of a line; 0 without one.
static int tag_length(const char *line) {
    if (line[0] != '[') return 0;
    const char *end = strchr(line, ']');
    return end ? (int)(end - line) + 1 : 0;
}

static int tag_order(const char *a, const char *b) {
    bool a_last = strncmp(a, "-- ", 3) == 0, b_last = strncmp(b, "-- ", 3) == 0;
    if (a_last || b_last) return a_last - b_last;
    int na = tag_length(a), nb = tag_length(b), order = strncmp(a, b, na < nb ? na : nb);
    return order ? order : na - nb;
}

char *dp_sort_by_tag(const char *text) {
    lines l = split(text);
    for (int i = 1; i < l.count; i++) {  // insertion: stable, and transcripts are short and nearly in order
        char *line = l.line[i];
        int j = i;
        for (; j > 0 && tag_order(l.line[j - 1], line) > 0; j--) l.line[j] = l.line[j - 1];
        l.line[j] = line;
    }
    char *sorted = malloc(strlen(text) + 2), *at = sorted;
    for (int i = 0; i < l.count; i++) {
        at = stpcpy(at, l.line[i]);
        *at++ = '\n';
    }
    *at = 0;
    release(&l);
    return sorted;
}

void dp_print_indented(const char *text, const char *indent) {
    lines l = split(text);
    for (int i = 0; i < l.count; i++) printf("%s%s\n", indent, l.line[i]);
    release(&l);
}

void dp_print_difference(const char *expected, const char *got, const char *indent) {
    lines a = split(expected), b = split(got);
    // Longest common subsequence; common[i][j] of the tails from i and j.
    int width = b.count + 1;
    int *common = calloc((size_t)(a.count + 1) * width, sizeof *common);
    for (int i = a.count - 1; i >= 0; i--)
        for (int j = b.count - 1; j >= 0; j--) {
            int below = common[(i + 1) * width + j], right = common[i * width + j + 1];
            common[i * width + j] = strcmp(a.line[i], b.line[j]) == 0 ? common[(i + 1) * width + j + 1] + 1 : below > right ? below : right;
        }
    for (int i = 0, j = 0; i < a.count || j < b.count;) {
        if (i < a.count && j < b.count && strcmp(a.line[i], b.line[j]) == 0) {
            printf("%s  %s\n", indent, a.line[i++]);
            j++;
        } else if (j >= b.count || (i < a.count && common[(i + 1) * width + j] >= common[i * width + j + 1])) {
            printf("%s- %s\n", indent, a.line[i++]);
        } else {
            printf("%s+ %s\n", indent, b.line[j++]);
        }
    }
    free(common);
    release(&a);
    release(&b);
}
