/*
 * Runs a fuzz target on every file of the directories (or the files) given, in
 * the order of their names, without any fuzzing: what was found once stays found.
 */
#include "tests/fuzz/fuzz.h"

#include "base/io.h"
#include "base/text.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#define INPUT_BYTES_MAX (16u << 20)

static int replay_file(const char *path)
{
    char *bytes;
    size_t size;
    struct error e = {0};
    if (read_file(path, INPUT_BYTES_MAX, &bytes, &size, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return -1;
    }
    fprintf(stderr, "%s (%zu bytes)\n", path, size);
    /* a copy of the exact size, so that a sanitizer sees a read behind its end */
    uint8_t *exact = malloc(size ? size : 1);
    FUZZ_CHECK(exact);
    for (size_t i = 0; i < size; i++)
        exact[i] = (uint8_t)bytes[i];
    free(bytes);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

static int replay_dir(const char *dir)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, NULL, alphasort), failed = 0, files = 0;
    for (int i = 0; i < n; i++) {
        char *path = format_new("%s/%s", dir, entries[i]->d_name);
        FUZZ_CHECK(path);
        if (entries[i]->d_name[0] != '.') {
            failed |= replay_file(path);
            files++;
        }
        free(path);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    if (!files)
        fprintf(stderr, "%s: no corpus\n", dir);
    return files ? failed : -1;
}

int main(int argc, char **argv)
{
    int failed = argc < 2;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        bool is_dir = !stat(argv[i], &st) && S_ISDIR(st.st_mode);
        failed |= is_dir ? replay_dir(argv[i]) : replay_file(argv[i]);
    }
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
