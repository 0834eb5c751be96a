/* The limit that intake is measured against: what a loop can do that takes files from a folder into one log, durably, and does
 * nothing else. Reads each file, appends it to the log, one fdatasync for 64 of them, then unlinks those 64.
 *   limit FOLDER LOG     prints files a second */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, SIZE_MAX_READ = 1024 * 1024 };

static void must(int is_fine, const char *what)
{
    if (!is_fine) {
        perror(what);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static char bytes[SIZE_MAX_READ], names[BATCH][256];
    struct timespec from, to;
    long files = 0;
    int waiting = 0;
    must(argc == 3, "limit FOLDER LOG");
    DIR *folder = opendir(argv[1]);
    int log = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0600);
    must(folder != NULL && log >= 0, "open");
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int is_going = 1; is_going;) {
        const struct dirent *entry = readdir(folder);
        is_going = entry != NULL;
        if (is_going && entry->d_name[0] != '.') {
            snprintf(names[waiting++], sizeof names[0], "%s", entry->d_name);
            int fd = openat(dirfd(folder), entry->d_name, O_RDONLY);
            ssize_t size = read(fd, bytes, sizeof bytes);
            must(fd >= 0 && size >= 0 && write(log, bytes, (size_t)size) == size, entry->d_name);
            close(fd);
            files++;
        }
        if (waiting == BATCH || (!is_going && waiting)) {
            must(fdatasync(log) == 0, "fdatasync");
            while (waiting)
                must(unlinkat(dirfd(folder), names[--waiting], 0) == 0, "unlink");
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%.0f\n", (double)files / ((double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9));
    return 0;
}
