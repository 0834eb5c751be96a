/* system.h over Windows: paths and texts are UTF-16 there. A message is written under a name that the relay leaves alone,
 * flushed, and renamed with the rename written through. */
#include "cdonts/system.h"
#include "cdonts/windows/text.h"

#include <arpa/inet.h>
#include <idn2.h>

#include <ntsecapi.h> /* RtlGenRandom */
#include <stdio.h>
#include <stdlib.h>

enum { TRIES_MAX = 100, CHUNK = 1 << 20 };

/* ---- text ---- */

WCHAR *wide_of(const char *text)
{
    int size = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    WCHAR *wide = calloc((size_t)size + 1, sizeof *wide);
    if (wide)
        (void)MultiByteToWideChar(CP_UTF8, 0, text, -1, wide, size);
    return wide;
}

char *utf8_of(const WCHAR *wide, int count)
{
    int size = count ? WideCharToMultiByte(CP_UTF8, 0, wide, count, NULL, 0, NULL, NULL) : 0;
    char *text = calloc((size_t)size + 1, 1);
    if (text && size)
        (void)WideCharToMultiByte(CP_UTF8, 0, wide, count, text, size, NULL, NULL);
    return text;
}

static bool fail(struct error *error, const char *what)
{
    WCHAR wide[256] = {0};
    DWORD code = GetLastError();
    DWORD size = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, code, 0, wide, 255, NULL);
    while (size && wide[size - 1] <= L' ')
        wide[--size] = 0;
    char *text = utf8_of(wide, (int)size);
    (void)error_set(error, "%s: %s (%lu)", what, text ? text : "", code);
    free(text);
    return false;
}

int idn2_lookup_u8(const uint8_t *text, uint8_t **ret_ascii, int flags)
{
    WCHAR ascii[256];
    (void)flags;
    WCHAR *wide = wide_of((const char *)text);
    int size = wide ? IdnToAscii(0, wide, -1, ascii, 256) : 0;
    free(wide);
    if (size <= 0)
        return -1;
    *ret_ascii = (uint8_t *)utf8_of(ascii, size - 1);
    return *ret_ascii ? IDN2_OK : -1;
}

void idn2_free(void *memory)
{
    free(memory);
}

/* ntdll's, which also say where they stopped: the whole text has to be the address. */
long WINAPI RtlIpv4StringToAddressA(const char *text, BOOLEAN is_strict, const char **ret_end, void *ret_octets);
long WINAPI RtlIpv6StringToAddressA(const char *text, const char **ret_end, void *ret_octets);

int inet_pton(int family, const char *text, void *ret_octets)
{
    const char *end = NULL;
    long status = family == AF_INET ? RtlIpv4StringToAddressA(text, TRUE, &end, ret_octets)
                                    : RtlIpv6StringToAddressA(text, &end, ret_octets);
    return status == 0 && end && *end == '\0';
}

void *memmem(const void *bytes, size_t size, const void *needle, size_t needle_size)
{
    const char *at = bytes, *first = needle;
    while (size >= needle_size) {
        const char *found = memchr(at, *first, size - needle_size + 1);
        if (!found)
            break;
        if (memcmp(found, needle, needle_size) == 0)
            return (void *)(uintptr_t)found;
        size -= (size_t)(found - at) + 1;
        at = found + 1;
    }
    return NULL;
}

/* ---- system ---- */

bool system_random(void *bytes, size_t size)
{
    return RtlGenRandom(bytes, (ULONG)size);
}

static int64_t unix_ms(FILETIME time)
{
    int64_t ticks = (int64_t)((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime); /* 100 ns since 1601 */
    return ticks / 10000 - INT64_C(11644473600000);
}

int64_t system_time_ms(void)
{
    FILETIME time;
    GetSystemTimeAsFileTime(&time);
    return unix_ms(time);
}

void system_sleep_ms(int ms)
{
    Sleep((DWORD)ms);
}

char *system_user(void)
{
    WCHAR name[257];
    DWORD size = 257;
    return GetUserNameW(name, &size) && size > 1 ? utf8_of(name, (int)size - 1) : NULL;
}

static char *from_environment(const WCHAR *variable)
{
    WCHAR value[1024];
    DWORD size = GetEnvironmentVariableW(variable, value, 1024);
    return size && size < 1024 ? utf8_of(value, (int)size) : NULL;
}

static char *from_registry(const WCHAR *name)
{
    WCHAR value[1024];
    DWORD size = sizeof value - sizeof value[0], type = 0;
    HKEY key;
    if (RegOpenKeyExW(HKEY_LOCAL_MACHINE, L"Software\\mailroot", 0, KEY_READ | KEY_WOW64_64KEY, &key) != ERROR_SUCCESS)
        return NULL;
    LSTATUS status = RegQueryValueExW(key, name, NULL, &type, (BYTE *)value, &size);
    RegCloseKey(key);
    if (status != ERROR_SUCCESS || type != REG_SZ || size < sizeof value[0])
        return NULL;
    value[size / sizeof value[0]] = 0;
    return utf8_of(value, (int)wcslen(value));
}

char *system_folder_path(enum system_folder which)
{
    static const struct { const WCHAR *variable, *value; const char *usual; } folders[] = {
        {L"MAILROOT_PICKUP", L"Pickup", "C:\\inetpub\\mailroot\\Pickup"},
        {L"MAILROOT_DROP", L"Drop", "C:\\inetpub\\mailroot\\Drop"},
        {L"MAILROOT_RECEIPTS", L"Receipts", "C:\\inetpub\\mailroot\\Receipts"}};
    char *path = from_environment(folders[which].variable);
    if (!path)
        path = from_registry(folders[which].value);
    return path ? path : strdup(folders[which].usual);
}

char system_separator(void)
{
    return '\\';
}

/* ---- files ---- */

static HANDLE open_file(const char *path, DWORD access, DWORD how)
{
    WCHAR *wide = wide_of(path);
    HANDLE file = wide ? CreateFileW(wide, access, access == GENERIC_READ ? FILE_SHARE_READ | FILE_SHARE_DELETE : 0, NULL, how,
                                     FILE_ATTRIBUTE_NORMAL, NULL)
                       : INVALID_HANDLE_VALUE;
    free(wide);
    return file;
}

bool system_read(const char *path, size_t size_max, struct buf *out, struct error *error)
{
    HANDLE file = open_file(path, GENERIC_READ, OPEN_EXISTING);
    DWORD got = 0;
    if (file == INVALID_HANDLE_VALUE)
        return fail(error, path);
    bool is_done = true;
    do {
        is_done = ReadFile(file, buf_reserve(out, CHUNK), CHUNK, &got, NULL) || fail(error, path);
        out->size += is_done ? got : 0;
        if (out->size > size_max)
            is_done = error_set(error, "%s: too large", path);
    } while (is_done && got);
    CloseHandle(file);
    return is_done;
}

static bool write_all(HANDLE file, struct slice bytes)
{
    while (bytes.size) {
        DWORD done = 0;
        if (!WriteFile(file, bytes.data, bytes.size > CHUNK ? CHUNK : (DWORD)bytes.size, &done, NULL) || done == 0)
            return false;
        bytes = slice_from(bytes, done);
    }
    return true;
}

bool system_write(const char *path, struct slice bytes, struct error *error)
{
    HANDLE file = open_file(path, GENERIC_WRITE, CREATE_ALWAYS);
    if (file == INVALID_HANDLE_VALUE)
        return fail(error, path);
    bool is_done = write_all(file, bytes) || fail(error, path);
    CloseHandle(file);
    return is_done;
}

static bool remove_wide(const char *path)
{
    WCHAR *wide = wide_of(path);
    bool is_done = wide && DeleteFileW(wide);
    free(wide);
    return is_done;
}

bool system_remove(const char *path, struct error *error)
{
    return remove_wide(path) || fail(error, path);
}

int64_t system_modified_ms(const char *path)
{
    WIN32_FILE_ATTRIBUTE_DATA facts;
    WCHAR *wide = wide_of(path);
    bool is_known = wide && GetFileAttributesExW(wide, GetFileExInfoStandard, &facts);
    free(wide);
    return is_known ? unix_ms(facts.ftLastWriteTime) : 0;
}

bool system_list(const char *folder, bool (*each)(void *arg, const char *name), void *arg, struct error *error)
{
    WIN32_FIND_DATAW found;
    struct buf pattern = {0};
    bool is_wanted = true;
    buf_printf(&pattern, "%s\\*", folder);
    WCHAR *wide = wide_of(buf_text(&pattern));
    HANDLE search = wide ? FindFirstFileW(wide, &found) : INVALID_HANDLE_VALUE;
    free(wide);
    buf_finish(&pattern);
    if (search == INVALID_HANDLE_VALUE)
        return fail(error, folder);
    do {
        char *name = utf8_of(found.cFileName, (int)wcslen(found.cFileName));
        is_wanted = name && each(arg, name);
        free(name);
    } while (is_wanted && FindNextFileW(search, &found));
    FindClose(search);
    return true;
}

/* ---- Pickup ---- */

static HANDLE create_hidden(const char *folder, struct buf *path, char ret_name[PICKUP_WRITER_NAME_SIZE])
{
    for (int i = 0; i < TRIES_MAX; i++) {
        uint64_t random = 0;
        (void)system_random(&random, sizeof random); /* CREATE_NEW guards uniqueness in any case */
        (void)snprintf(ret_name, PICKUP_WRITER_NAME_SIZE, "%013llx-%lx-%016llx", (unsigned long long)system_time_ms(),
                       (unsigned long)GetCurrentProcessId(), (unsigned long long)random);
        buf_clear(path);
        buf_printf(path, "%s\\.mailroot-%s", folder, ret_name);
        HANDLE file = open_file(buf_text(path), GENERIC_WRITE, CREATE_NEW);
        if (file != INVALID_HANDLE_VALUE || GetLastError() != ERROR_FILE_EXISTS)
            return file;
    }
    return INVALID_HANDLE_VALUE;
}

static bool publish(const char *folder, const char *hidden, char name[PICKUP_WRITER_NAME_SIZE])
{
    struct buf path = {0};
    strcat(name, ".eml");
    buf_printf(&path, "%s\\%s", folder, name);
    WCHAR *from = wide_of(hidden), *to = wide_of(buf_text(&path));
    bool is_done = from && to && MoveFileExW(from, to, MOVEFILE_WRITE_THROUGH);
    if (!is_done && from)
        (void)DeleteFileW(from); /* the failure of the rename is what is told */
    free(from);
    free(to);
    buf_finish(&path);
    return is_done;
}

bool system_submit(const char *folder, const struct submission *submission, char ret_name[PICKUP_WRITER_NAME_SIZE],
                   struct error *error)
{
    struct buf envelope = {0}, hidden = {0};
    char name[PICKUP_WRITER_NAME_SIZE];
    if (!submission_check(submission, error))
        return false;
    HANDLE file = create_hidden(folder, &hidden, name);
    if (file == INVALID_HANDLE_VALUE) {
        buf_finish(&hidden);
        return fail(error, folder);
    }
    submission_put_envelope(&envelope, submission);
    bool is_written = write_all(file, buf_slice(&envelope)) && write_all(file, submission->message) && FlushFileBuffers(file);
    is_written = is_written || fail(error, folder);
    CloseHandle(file);
    if (!is_written)
        remove_wide(buf_text(&hidden)); /* the failure to write is what is told */
    bool is_done = is_written && (publish(folder, buf_text(&hidden), name) || fail(error, folder));
    if (is_done)
        memcpy(ret_name, name, sizeof name);
    buf_finish(&envelope);
    buf_finish(&hidden);
    return is_done;
}
