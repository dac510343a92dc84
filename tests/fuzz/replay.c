// SPDX-License-Identifier: MIT
/*
 * Runs a fuzz target over files, and over the files of folders: an ordinary test, for any compiler.
 * A finding aborts. Each file is also run cut short at every length up to 64 bytes.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX (1024 * 1024)
#define CUTS 64

static int passed, failed;

/* In memory of exactly that size, so that a sanitizer sees the first byte behind it. */
static void run_input(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_file(const char *path)
{
    static uint8_t data[FILE_MAX];
    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        printf("%s cannot be read\n", path);
        failed++;
        return;
    }
    size_t size = fread(data, 1, sizeof(data), file);
    fclose(file);
    printf("%s\n", path); /* the last one of these is the one that aborts */
    fflush(stdout);
    for (size_t cut = 0; cut < size && cut < CUTS; cut++) {
        run_input(data, cut);
    }
    run_input(data, size);
    passed++;
}

static void run_path(const char *path)
{
    struct stat st;
    DIR *folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? opendir(path) : NULL;

    if (folder == NULL) {
        run_file(path);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char name[PATH_MAX];
        if (entry->d_name[0] != '.' &&
            snprintf(name, sizeof(name), "%s/%s", path, entry->d_name) < PATH_MAX) {
            run_file(name);
        }
    }
    closedir(folder);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        run_path(argv[i]);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return passed > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
