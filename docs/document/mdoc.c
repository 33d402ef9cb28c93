/* Texts as mdoc(7) wants them: see document.h. */
#include "docs/document/document.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void print_character(char c, bool *quoted)
{
    switch (c) {
    case '\\':
        fputs("\\e", stdout);
        break;
    case '-':
        fputs("\\-", stdout);
        break;
    case '`':
        fputs(*quoted ? "\\(cq" : "\\(oq", stdout);
        *quoted = !*quoted;
        break;
    default:
        putchar(c);
    }
}

/* Prints what keeps the next character from making a line a request. */
static void print_start(char first)
{
    if (first == '.' || first == '\'')
        fputs("\\&", stdout);
}

void mdoc_sentences(const char *text, size_t len)
{
    bool quoted = false, start = true;
    for (size_t i = 0; i < len; i++) {
        if (start)
            print_start(text[i]);
        start = i + 1 < len && text[i] == '.' && text[i + 1] == ' ';
        if (start) {
            fputs(".\n", stdout);
            i++;
        } else {
            print_character(text[i], &quoted);
        }
    }
    putchar('\n');
}

void mdoc_paragraphs(const char *text)
{
    for (;;) {
        const char *end = strstr(text, "\n\n");
        mdoc_sentences(text, end ? (size_t)(end - text) : strlen(text));
        if (!end)
            return;
        printf(".Pp\n");
        text = end + 2;
    }
}

void mdoc_summary(const char *summary)
{
    char sentence[512];
    snprintf(sentence, sizeof sentence, "%s.", summary);
    mdoc_sentences(sentence, strlen(sentence));
}

void mdoc_literal(const char *line, size_t len)
{
    bool quoted = false;
    if (len)
        print_start(*line);
    for (size_t i = 0; i < len; i++)
        print_character(line[i], &quoted);
    putchar('\n');
}
